r"""Trains, evaluates and compares all models of an experiment.

  flan launch leave_one_out --gin_file=configs/models/small.gin --out loo \
      --gin.INITIAL_CHECKPOINT_PATH=runs/base --data_dir=DATA
  flan launch num_clusters --out clusters ... --dry_run        what it would do
  flan launch leave_one_out --out loo ... --only nli,sentiment   some of its runs

experiments: leave_one_out, num_clusters, model_scale, instructions, few_shot,
datasets_templates, untuned, prompt_tuning, full_vs_lora; configs/experiments/<name>.gin says what each can be told.
What the gin files say of training goes to `flan train`.

The folder holds a graph of jobs (prepare, a training and an evaluation for each run, the
report). Launching again goes on with what is not done; `flan status OUT` shows how far it is.

exit codes: 0 all done, 1 some jobs failed (their logs lie in OUT/jobs), 2 a mistake in the
settings, 130 Ctrl-C (jobs were stopped after saving).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

EXIT_FAILED = 1


def rewrite(argv: list[str]) -> list[str]:
    """Lets argparse understand `--gin.NAME=VALUE`."""
    from flan.gin_edge import split_bindings

    return split_bindings(argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan launch`."""
    parser.add_argument("experiment", help="which, see above")
    parser.add_argument("--out", required=True, metavar="DIR", help="the experiment's folder")
    parser.add_argument(
        "--gin_file",
        action="append",
        default=[],
        metavar="FILE",
        help="read after configs/experiments/EXPERIMENT.gin; may be repeated",
    )
    parser.add_argument(
        "--gin_bindings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting; --gin.NAME=VALUE is the same",
    )
    parser.add_argument("--data_dir", metavar="DIR", help="folder with TFDS datasets")
    parser.add_argument("--cache_dir", metavar="DIR", help="folder for caches")
    parser.add_argument(
        "--engine",
        choices=("flan", "t5x"),
        default="flan",
        help="what takes the steps of training (flan)",
    )
    parser.add_argument("--only", metavar="RUNS", help="these runs alone, separated by commas")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="jobs at once (1)")
    parser.add_argument(
        "--retries", type=int, default=1, metavar="N", help="times a failed job is tried again (1)"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print the commands, write and run nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the experiment's jobs; returns the exit code."""
    from flan.experiments import graph, schedule, state
    from flan.experiments.local import LocalBackend

    if args.jobs < 1 or args.retries < 0:
        raise ValueError(
            f"--jobs must be 1 or more and --retries 0 or more, got {args.jobs}, {args.retries}"
        )
    if args.engine == "t5x":
        from flan.engines.t5x_settings import check_installed

        check_installed()
    experiment, inputs = _read(args)
    runs = experiment.runs()
    if args.only:
        runs = _only(runs, args.only)
    jobs = graph.build(runs, inputs)
    graph.check_start(runs, inputs)
    if args.dry_run:
        for job in jobs:
            needs = f"   # after {', '.join(job.needs)}" if job.needs else ""
            print(f"flan {shlex.join(job.arguments)}{needs}")
        return 0
    # With --only the folder still knows all runs, and what was done of the others.
    every = experiment.runs()
    state.write_record(
        inputs.out, state.Record(args.experiment, tuple(every), tuple(graph.build(every, inputs)))
    )
    if args.only:
        jobs = graph.only(jobs, [r.name for r in runs])

    def say(line: str) -> None:
        print(f"flan: {line}", file=sys.stderr, flush=True)

    outcome = schedule.run(
        inputs.out, jobs, LocalBackend(), workers=args.jobs, retries=args.retries, say=say
    )
    for name in outcome.failed:
        say(f"{name} failed; see {state.job_folder(inputs.out, name) / 'log.txt'}")
    if outcome.blocked:
        say(f"not begun for want of these: {', '.join(outcome.blocked)}")
    print(f"{len(outcome.done)} of {len(jobs)} jobs done, in {inputs.out}")
    return EXIT_FAILED if outcome.failed or outcome.blocked else 0


def _read(args: argparse.Namespace) -> tuple[Any, Any]:
    """The experiment and what its commands share, from gin files and flags."""
    from flan import gin_edge
    from flan.experiments.configurables import CONFIGURABLES as OURS
    from flan.experiments.definitions import EXPERIMENTS
    from flan.experiments.graph import EvaluationSettings, Inputs
    from flan.suggest import unknown_name
    from flan.training.configurables import CONFIGURABLES

    if args.experiment not in EXPERIMENTS:
        raise ValueError(unknown_name("experiment", args.experiment, EXPERIMENTS))
    configurable = gin_edge.register({**CONFIGURABLES, **OURS})
    files = (f"configs/experiments/{args.experiment}.gin", *args.gin_file)
    out = Path(args.out).expanduser().resolve()
    # Each run has a folder of its own; the files ask for one.
    gin_edge.parse(files, [*args.gin_bindings, f"MODEL_DIR={str(out)!r}"])
    definition = EXPERIMENTS[args.experiment]
    experiment = gin_edge.build(configurable[definition.__name__])
    evaluation = gin_edge.build(configurable[EvaluationSettings.__name__])
    inputs = Inputs(
        out=out,
        gin_files=files,
        bindings=tuple(args.gin_bindings),
        initial=gin_edge.macro("INITIAL_CHECKPOINT_PATH"),
        data_dir=args.data_dir or gin_edge.macro("DATA_DIR"),
        cache_dir=args.cache_dir or gin_edge.macro("CACHE_DIR"),
        evaluation=evaluation,
        engine=args.engine,
        title=f"FLAN: {args.experiment.replace('_', ' ')}",
    )
    return experiment, inputs


def _only(runs: list[Any], names: str) -> list[Any]:
    """The runs that were asked for, those they start from, and `base`, to compare them with."""
    from flan.experiments.runs import BASE
    from flan.suggest import unknown_name

    known = {run.name: run for run in runs}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise ValueError(unknown_name("run", name, known))
    needed = {BASE, *wanted, *(known[name].starts_from for name in wanted)}
    return [run for run in runs if run.name in needed]
