r"""Pretrains or instruction-tunes a model, as gin files say.

  flan train --gin_file=configs/runs/finetune.gin --gin_file=configs/models/tiny.gin \
      --gin.MODEL_DIR=/tmp/run --gin.TRAIN_STEPS=1000 --data_dir=~/tensorflow_datasets

Later gin files and bindings win over earlier ones. Running the same command again goes on
from the newest checkpoint. What is missing on the way (caches, a vocabulary) is made first.

Several processes train one model together: start the same command in each, with
--coordinator_address, --num_processes and --process_id; on TPU pods and under srun or mpirun
without them. All need the same MODEL_DIR, on a disk that they share.

With --engine=t5x an installed T5X (docs/t5x.md) takes the steps, on the same batches from the
same state; either engine goes on where the other left off.

exit codes: 0 done, 1 T5X failed, 2 a mistake in the settings, 3 loss, parameters or dev scores
became NaN or infinite, 75 stopped by SIGTERM after saving (run the same command again to go on).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Iterator

EXIT_FAILED = 1
EXIT_NON_FINITE = 3
EXIT_PREEMPTED = 75  # sysexits' EX_TEMPFAIL: try again


def rewrite(argv: list[str]) -> list[str]:
    """Lets argparse understand `--gin.NAME=VALUE`."""
    from flan.gin_edge import split_bindings

    return split_bindings(argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan train`."""
    parser.add_argument(
        "--gin_file",
        action="append",
        required=True,
        metavar="FILE",
        help="a gin file, by path or as shipped (configs/runs/finetune.gin); may be repeated",
    )
    parser.add_argument(
        "--gin_bindings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting; --gin.NAME=VALUE is the same",
    )
    for flag, macro, text in (
        ("--data_dir", "DATA_DIR", "folder with TFDS datasets"),
        ("--cache_dir", "CACHE_DIR", "folder for caches"),
        ("--vocabulary", "VOCABULARY", "folder with the vocabulary"),
        ("--model_dir", "MODEL_DIR", "folder for checkpoints and logs"),
    ):
        parser.add_argument(flag, metavar="DIR", help=f"{text}; short for --gin.{macro}=DIR")
    parser.add_argument(
        "--coordinator_address",
        metavar="HOST:PORT",
        help="process 0 of several that train together",
    )
    parser.add_argument("--num_processes", type=int, metavar="N", help="how many there are")
    parser.add_argument("--process_id", type=int, metavar="I", help="which one this is, from 0")
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="have JAX find the other processes (by itself on TPU pods, under srun and mpirun)",
    )
    parser.add_argument(
        "--engine", choices=("flan", "t5x"), default="flan", help="what takes the steps (flan)"
    )
    parser.add_argument(
        "--print_config", action="store_true", help="print what the gin files set, and stop"
    )


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    import gin

    environment = _for_t5x(args) if args.engine == "t5x" else {}

    from flan import gin_edge
    from flan.experiments.configurables import CONFIGURABLES as OF_EXPERIMENTS
    from flan.training.configurables import CONFIGURABLES

    bindings = list(args.gin_bindings)
    for flag in ("data_dir", "cache_dir", "vocabulary", "model_dir"):
        if (value := getattr(args, flag)) is not None:
            bindings.append(f"{flag.upper()}={value!r}")
    # An experiment's file says what its training runs have in common, among other things.
    configurable = gin_edge.register({**CONFIGURABLES, **OF_EXPERIMENTS})
    gin_edge.parse(args.gin_file, bindings)
    if args.print_config:
        print(gin.config_str())
        return 0

    from flan import processes
    from flan.checkpoints.manager import RUNTIME_SETTINGS
    from flan.training.run import run as run_training
    from flan.training.signals import Preempted, sigterm_ends
    from flan.training.window import NonFiniteLossError

    config = gin_edge.build(configurable["RunConfig"])
    if config.model is None:
        over = gin_edge.settings_of("ModelConfig", RUNTIME_SETTINGS)
        config = dataclasses.replace(config, over_model=over)
    processes.connect(
        args.coordinator_address, args.num_processes, args.process_id, args.distributed
    )
    try:
        with sigterm_ends(), _log_to_stderr(processes.is_first()):
            if args.engine == "t5x":
                from flan.engines.t5x_process import T5xFailed
                from flan.engines.t5x_run import run_t5x

                try:
                    state = run_t5x(config, gin_edge.operative_config, environment)
                except T5xFailed as error:
                    print(f"flan: error: {error}", file=sys.stderr)
                    return EXIT_FAILED
            else:
                state = run_training(config, gin_edge.operative_config)
    except Preempted as stopped:
        print(f"flan: {stopped}; run the same command to go on", file=sys.stderr)
        return EXIT_PREEMPTED
    except NonFiniteLossError as error:
        print(f"flan: error: {error}", file=sys.stderr)
        return EXIT_NON_FINITE
    if processes.is_first():
        print(f"trained to step {int(state.step)}: {config.model_dir}")
    return 0


def _for_t5x(args: argparse.Namespace) -> dict[str, str | None]:
    """Leaves accelerators to T5X's process; the variables that it needs instead."""
    if args.coordinator_address or args.num_processes or args.distributed:
        raise ValueError(
            "--engine=t5x trains from one process; for several start `python -m t5x.train` in each "
            "(docs/t5x.md)"
        )
    before = os.environ.get("JAX_PLATFORMS")
    os.environ["JAX_PLATFORMS"] = "cpu"  # JAX is not imported yet
    return {"JAX_PLATFORMS": before}


@contextlib.contextmanager
def _log_to_stderr(all_of_it: bool) -> Iterator[None]:
    """Shows the package's log within it (or its warnings), without logging's prefixes."""
    log = logging.getLogger("flan")
    handler = logging.StreamHandler(sys.stderr)
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO if all_of_it else logging.WARNING)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
