"""An experiment's runs as a graph of jobs, each one command of `flan`.

    prepare -> <run>/train -> <run>/eval -> report

Rows are prepared once for all; token caches are shared by content, and `flan train` makes
those that it lacks.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.catalog import clusters
from flan.data.leaks import find_leaks, leaks_of, refuse
from flan.data.names import parse_task_name
from flan.data.training_record import read_record
from flan.evaluation.training import SEEN, Seen
from flan.experiments.runs import RunSpec

RUNS, RESULTS, REPORT = "runs", "results", "report"


@dataclasses.dataclass(frozen=True)
class Job:
    """One command, and what has to be done before it.

    Attributes:
      name: `prepare`, `report`, `<run>/train` or `<run>/eval`.
      arguments: of `flan`.
      needs: names of jobs.
      tolerant: begins once its needs have ended, if one of them has succeeded.
    """

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    tolerant: bool = False

    @property
    def key(self) -> str:
        """Hash of the command: another command's work is not this job's."""
        return hashlib.sha256(json.dumps(self.arguments).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How all runs of an experiment are evaluated.

    Attributes:
      limit: rows of each source and split at most; None takes all.
      splits: dev is what the best template is chosen on.
      score: of options, see `flan eval --score`.
      feature_lengths: tokens of `inputs` and `targets` at most.
      skip_missing: leave out datasets that are not on disk.
      seen: whether a model that was trained on what it is evaluated on is refused, or its
        scores are marked (`mark`). Runs that do so by design are always marked.
    """

    limit: int | None = None
    splits: Sequence[str] = ("dev", "test")
    score: str = "sum"
    feature_lengths: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"inputs": 1024, "targets": 256}
    )
    skip_missing: bool = False
    seen: Seen = "refuse"

    def __post_init__(self) -> None:
        if self.seen not in SEEN:
            raise ValueError(f"EVAL_SEEN must be one of {list(SEEN)}, got {self.seen!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the commands of all runs share.

    Attributes:
      out: the experiment's folder.
      gin_files, bindings: of `flan train`, as the user gave them.
      initial: the model to start from; a run's own settings may name another.
      data_dir, cache_dir: folders, or None for the defaults.
      evaluation: how to evaluate.
      title: heading of the report.
      engine: what takes the steps of training, see `flan train --engine`.
    """

    out: Path
    gin_files: tuple[str, ...]
    bindings: tuple[str, ...]
    initial: str | None
    data_dir: str | None
    cache_dir: str | None
    evaluation: EvaluationSettings
    title: str = "FLAN"
    engine: str = "flan"


def build(runs: Sequence[RunSpec], inputs: Inputs) -> list[Job]:
    """The jobs, each after those it needs.

    Raises ValueError for runs of the same name, or one without a model to start from.
    """
    names = [run.name for run in runs]
    if twice := {n for n in names if names.count(n) > 1}:
        raise ValueError(f"several runs are called {sorted(twice)}")
    prepare = Job("prepare", tuple(_prepare(runs, inputs)))
    jobs = [prepare]
    for run in runs:
        model = inputs.out / RUNS / run.name
        if run.mixture is None:
            start = run.settings.get("INITIAL_CHECKPOINT_PATH", inputs.initial)
            if start is None:
                raise ValueError(
                    f"run {run.name!r} scores the model that tuning starts from, and there is none: "
                    "give --gin.INITIAL_CHECKPOINT_PATH=FOLDER"
                )
            jobs.append(
                Job(f"{run.name}/eval", tuple(_eval(run, str(start), inputs)), ("prepare",))
            )
            continue
        needs = ("prepare",)
        if run.starts_from is not None:
            assert run.starts_from in names, (run.name, run.starts_from)
            needs = (f"{run.starts_from}/train",)
        train = Job(f"{run.name}/train", tuple(_train(run, model, inputs)), needs)
        evaluate = Job(f"{run.name}/eval", tuple(_eval(run, str(model), inputs)), (train.name,))
        jobs += [train, evaluate]
    ends = tuple(job.name for job in jobs if job.name.endswith("/eval"))
    jobs.append(Job("report", ("report", str(inputs.out), "--title", inputs.title), ends, True))
    return jobs


def trains_on_evaluated(run: RunSpec) -> bool:
    """Whether a run is to be scored on what it is tuned on, holding none of it out."""
    if run.mixture is None or run.held_out:
        return False
    trained = {d: (clusters.cluster_of(d), "") for d in parse_task_name(run.mixture).datasets}
    return any(leaks_of(trained, name) for name in clusters.expand(run.evaluate))


def check_start(runs: Sequence[RunSpec], inputs: Inputs) -> None:
    """SeenInTraining where a run starts from a model that was trained on what it is scored on.

    `flan eval` would refuse it, too, but only after the training.
    """
    if inputs.evaluation.seen == "mark":
        return
    for run in runs:
        start = run.settings.get("INITIAL_CHECKPOINT_PATH", inputs.initial)
        if start is None or trains_on_evaluated(run):
            continue
        record = read_record(_model_folder(Path(str(start)).expanduser()))
        refuse(
            f"{start}, from which run {run.name!r} starts,",
            find_leaks(record, clusters.expand(run.evaluate)),
            "Start from another model, or mark such scores: --gin.EVAL_SEEN=mark",
        )


def only(jobs: Sequence[Job], runs: Sequence[str]) -> list[Job]:
    """The jobs of some runs, with what they share."""
    return [job for job in jobs if "/" not in job.name or job.name.rpartition("/")[0] in runs]


def _prepare(runs: Sequence[RunSpec], inputs: Inputs) -> list[str]:
    found: dict[str, None] = {}
    for run in runs:
        names = clusters.expand(run.evaluate)
        trained = parse_task_name(run.mixture).datasets if run.mixture else ()
        found |= dict.fromkeys((*names, *trained))
    skip = ["--skip_missing"] if inputs.evaluation.skip_missing else []
    return ["prepare", "--datasets", ",".join(found), *_folders(inputs), *skip]


def _train(run: RunSpec, model: Path, inputs: Inputs) -> list[str]:
    settings: dict[str, Any] = {**run.settings, "MIXTURE_OR_TASK_NAME": run.mixture}
    if run.starts_from is not None:
        settings["INITIAL_CHECKPOINT_PATH"] = inputs.out / RUNS / run.starts_from
    return [
        "train",
        *(f"--gin_file={name}" for name in (*inputs.gin_files, *run.gin_files)),
        *(f"--gin.{binding}" for binding in inputs.bindings),
        *(f"--gin.{name}={value}" for name, value in settings.items()),
        *([] if inputs.engine == "flan" else [f"--engine={inputs.engine}"]),
        *_folders(inputs),
        "--model_dir",
        str(model),
    ]


def _eval(run: RunSpec, model: str, inputs: Inputs) -> list[str]:
    settings = inputs.evaluation
    command = ["eval", model, "--name", run.name, "--datasets", ",".join(run.evaluate)]
    command += ["--mode", ",".join(run.modes), "--splits", ",".join(settings.splits)]
    command += ["--score", settings.score]
    command += ["--input_length", str(settings.feature_lengths["inputs"])]
    command += ["--target_length", str(settings.feature_lengths["targets"])]
    command += ["--limit", str(settings.limit)] if settings.limit else []
    command += ["--skip_missing"] if settings.skip_missing else []
    command += ["--seen", "mark"] if settings.seen == "mark" or trains_on_evaluated(run) else []
    return [*command, "--out", str(inputs.out / RESULTS), *_folders(inputs)]


def _model_folder(checkpoint: Path) -> Path:
    """The model folder of one of its `checkpoints/<step>`, or itself."""
    inside = checkpoint.name.isdigit() and checkpoint.parent.name == "checkpoints"
    return checkpoint.parent.parent if inside else checkpoint


def _folders(inputs: Inputs) -> list[str]:
    named = (("--data_dir", inputs.data_dir), ("--cache_dir", inputs.cache_dir))
    return [part for flag, value in named if value is not None for part in (flag, value)]
