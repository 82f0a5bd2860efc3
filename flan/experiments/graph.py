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
from flan.evaluation.scores import SCORES
from flan.evaluation.summary import SPLITS
from flan.evaluation.training import SEEN, Seen
from flan.experiments.runs import RunSpec
from flan.suggest import unknown_name

RUNS, RESULTS, REPORT = "runs", "results", "report"


@dataclasses.dataclass(frozen=True)
class Job:
    """One command, and what has to be done before it.

    Attributes:
      name: `prepare`, `report`, `<run>/train` or `<run>/eval`.
      arguments: of `flan`.
      needs: names of jobs.
      tolerant: begins once its needs have ended, if one of them has succeeded.
      made_of: keys of the jobs whose work it reads: where one of them changes, this job's work
        is no longer what its command would give.
    """

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    tolerant: bool = False
    made_of: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Hash of the command and of what it is made of: another command's work is not this job's."""
        content = [self.arguments, self.made_of] if self.made_of else self.arguments
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


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
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"EVAL_LIMIT must be 1 or more, or None for all, got {self.limit}")
        if isinstance(self.splits, str) or not self.splits or not set(self.splits) <= set(SPLITS):
            raise ValueError(
                f"EVAL_SPLITS must be a list of some of {list(SPLITS)}, got {self.splits!r}"
            )
        if self.score not in SCORES:
            raise ValueError(unknown_name("score of options", self.score, SCORES))
        lengths = self.feature_lengths
        if set(lengths) != {"inputs", "targets"} or min(lengths.values()) < 1:
            raise ValueError(
                "EvaluationSettings.feature_lengths must give 'inputs' and 'targets', each 1 or "
                f"more, got {dict(lengths)}"
            )


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

    The key of `prepare` enters no other: what needs it finds caches by their content.

    Raises ValueError for runs of the same name, or one without a model to start from.
    """
    names = [run.name for run in runs]
    if twice := {n for n in names if names.count(n) > 1}:
        raise ValueError(f"several runs are called {sorted(twice)}")
    jobs = [Job("prepare", tuple(_prepare(runs, inputs)))]
    trained: dict[str, Job] = {}
    for run in runs:
        model = inputs.out / RUNS / run.name
        if run.mixture is None:
            path = run.settings.get("INITIAL_CHECKPOINT_PATH", inputs.initial)
            if path is None:
                raise ValueError(
                    f"run {run.name!r} scores the model that tuning starts from, and there is none: "
                    "give --gin.INITIAL_CHECKPOINT_PATH=FOLDER"
                )
            jobs.append(Job(f"{run.name}/eval", tuple(_eval(run, str(path), inputs)), ("prepare",)))
            continue
        needs: tuple[str, ...] = ("prepare",)
        made_of: tuple[str, ...] = ()
        if run.starts_from is not None:
            assert run.starts_from in trained, (run.name, run.starts_from)
            start = trained[run.starts_from]
            needs, made_of = (start.name,), (start.key,)
        train = Job(f"{run.name}/train", tuple(_train(run, model, inputs)), needs, made_of=made_of)
        trained[run.name] = train
        command = tuple(_eval(run, str(model), inputs))
        jobs += [train, Job(f"{run.name}/eval", command, (train.name,), made_of=(train.key,))]
    ends = [job for job in jobs if job.name.endswith("/eval")]
    jobs.append(
        Job(
            "report",
            ("report", str(inputs.out), "--title", inputs.title),
            tuple(job.name for job in ends),
            tolerant=True,
            made_of=tuple(job.key for job in ends),
        )
    )
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


def only(every: Sequence[Job], runs: Sequence[RunSpec], inputs: Inputs) -> list[Job]:
    """The jobs of some runs: rows are prepared for these, and the report waits for these."""
    names = {run.name for run in runs}

    def wanted(name: str) -> bool:
        return name.rpartition("/")[0] in names

    prepare, *jobs, report = every
    return [
        dataclasses.replace(prepare, arguments=tuple(_prepare(runs, inputs))),
        *(job for job in jobs if wanted(job.name)),
        dataclasses.replace(report, needs=tuple(filter(wanted, report.needs))),
    ]


def recorded(every: Sequence[Job], chosen: Sequence[Job]) -> list[Job]:
    """All jobs as the experiment's record has them while the chosen ones are launched.

    The report still needs all.
    """
    at_work = {job.name: job for job in chosen if not job.tolerant}
    return [at_work.get(job.name, job) for job in every]


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
    command += [] if settings.limit is None else ["--limit", str(settings.limit)]
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
