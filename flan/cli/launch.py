r"""Trains, evaluates and compares all models of an experiment.

  flan launch leave_one_out --gin_file=configs/models/small.gin --out loo \
      --gin.INITIAL_CHECKPOINT_PATH=runs/base --data_dir=DATA
  flan launch num_clusters --out clusters ... --dry_run        what it would do
  flan launch leave_one_out --out loo ... --only nli,sentiment   some of its runs
  flan launch leave_one_out --out loo ... --backend=slurm --gin.SlurmSettings.partition=gpu
  flan launch leave_one_out --out loo ... --backend=skypilot --backend_file=tpu.gin

experiments: leave_one_out, num_clusters, model_scale, instructions, few_shot,
datasets_templates, untuned, prompt_tuning, full_vs_lora; configs/experiments/<name>.gin says what each can be told.
What the gin files say of training goes to `flan train`.

backends: `local` runs jobs as processes of this machine, `slurm` submits them (launched again, it
finds those in the queue). `skypilot` and `jobset` write task files and manifests into
OUT/skypilot and OUT/jobset, with a submit.sh, and run nothing. docs/clusters.md has examples.

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
    parser.add_argument(
        "--backend",
        choices=("local", "slurm", "skypilot", "jobset"),
        default="local",
        help="where jobs run, see above (local)",
    )
    parser.add_argument(
        "--backend_file",
        action="append",
        default=[],
        metavar="FILE",
        help="gin file with SlurmSettings, SkyPilotSettings or JobSetSettings",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="jobs at once (1; 64 with --backend=slurm)"
    )
    parser.add_argument(
        "--retries", type=int, default=1, metavar="N", help="times a failed job is tried again (1)"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print the commands, write and run nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the experiment's jobs; returns the exit code."""
    from flan.experiments import graph, schedule, state

    if args.jobs is None:
        args.jobs = 64 if args.backend == "slurm" else 1
    if args.jobs < 1 or args.retries < 0:
        raise ValueError(
            f"--jobs must be 1 or more and --retries 0 or more, got {args.jobs}, {args.retries}"
        )
    if args.engine == "t5x":
        from flan.engines.t5x_settings import check_installed

        check_installed()
    experiment, inputs, settings = _read(args)
    every = experiment.runs()
    runs = _only(every, args.only) if args.only else every
    known = graph.build(every, inputs)
    jobs = graph.only(known, runs, inputs)
    graph.check_start(runs, inputs)
    # With --only the folder still knows all runs, and what was done of the others.
    known = graph.recorded(known, jobs)
    record = state.Record(args.experiment, tuple(every), tuple(known))
    if args.backend in ("skypilot", "jobset"):
        return _write_files(args, record, jobs, settings)
    if args.dry_run:
        for job in jobs:
            needs = f"   # after {', '.join(job.needs)}" if job.needs else ""
            asked = f"   # {settings.describe(job)}" if settings else ""
            print(f"flan {shlex.join(job.arguments)}{needs}{asked}")
        return 0
    backend = _backend(settings)
    with state.launching(inputs.out):
        state.write_record(inputs.out, record)
        outcome = schedule.run(
            inputs.out, jobs, backend, workers=args.jobs, retries=args.retries, say=_say
        )
    for name in outcome.failed:
        _say(f"{name} failed; see {state.job_folder(inputs.out, name) / 'log.txt'}")
    if outcome.blocked:
        _say(f"not begun for want of these: {', '.join(outcome.blocked)}")
    print(f"{len(outcome.done)} of {len(jobs)} jobs done, in {inputs.out}")
    return EXIT_FAILED if outcome.failed or outcome.blocked else 0


def _say(line: str) -> None:
    print(f"flan: {line}", file=sys.stderr, flush=True)


def _backend(settings: Any) -> Any:
    """What starts jobs: processes of this machine, or SLURM where there are settings for it."""
    from flan.experiments.backends.local import LocalBackend
    from flan.experiments.backends.slurm import SlurmBackend

    return SlurmBackend(settings) if settings else LocalBackend()


def _write_files(args: argparse.Namespace, record: Any, jobs: list[Any], settings: Any) -> int:
    """Writes, or prints, what SkyPilot or Kubernetes is to be given."""
    from flan.experiments.backends import files
    from flan.experiments.backends.generate import generate

    folder = Path(args.out).expanduser() / args.backend
    found = generate(record, jobs, settings, _remote_name(args), str(folder))
    if args.dry_run:
        for name, text in found.items():
            print(f"# {folder / name}\n{text}", end="")
        return 0
    files.write(folder, found)
    print(
        f"{len(found)} files in {folder}; to submit: sh {shlex.quote(str(folder / files.SUBMIT))}"
    )
    return 0


def _remote_name(args: argparse.Namespace) -> str:
    return Path(args.out).expanduser().resolve().name


def _read(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The experiment, what its commands share, and the backend's settings; from files and flags."""
    from flan import gin_edge
    from flan.experiments.configurables import BACKENDS
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
    gin_edge.parse([*files, *args.backend_file], [*args.gin_bindings, f"MODEL_DIR={str(out)!r}"])
    definition = EXPERIMENTS[args.experiment]
    experiment = gin_edge.build(configurable[definition.__name__])
    evaluation = gin_edge.build(configurable[EvaluationSettings.__name__])
    settings = None
    if args.backend in BACKENDS:
        settings = gin_edge.build(configurable[BACKENDS[args.backend].__name__])
    data_dir = args.data_dir or gin_edge.macro("DATA_DIR")
    cache_dir = args.cache_dir or gin_edge.macro("CACHE_DIR")
    if mount := getattr(settings, "mount", None):  # folders of the machines that run the jobs
        out = Path(mount) / _remote_name(args)
        data_dir = getattr(settings, "data_dir", None) or data_dir
        cache_dir = cache_dir or f"{mount}/cache"
    # These are said by the jobs there are and their commands: with another number of clusters,
    # say, no training is another one.
    ours = tuple(f"{name}." for name in OURS)
    inputs = Inputs(
        out=out,
        gin_files=files,
        bindings=tuple(b for b in args.gin_bindings if not b.strip().startswith(ours)),
        initial=gin_edge.macro("INITIAL_CHECKPOINT_PATH"),
        data_dir=data_dir,
        cache_dir=cache_dir,
        evaluation=evaluation,
        engine=args.engine,
        title=f"FLAN: {args.experiment.replace('_', ' ')}",
    )
    return experiment, inputs, settings


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
