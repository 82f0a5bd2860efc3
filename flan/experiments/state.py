"""An experiment's folder: its jobs, and how far each has come.

experiment.json         which experiment, its runs and jobs
jobs/<job>/state.json   see `JobState`
jobs/<job>/log.txt      what the command printed, of all attempts
runs/<run>/             model folders
results/, report/       of all runs
compiled/               JAX's compilation cache, unless the environment names another
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from flan.data import atomic
from flan.experiments.graph import Job
from flan.experiments.locks import lock
from flan.experiments.runs import RunSpec
from flan.hints import described, fits

T = TypeVar("T")
FORMAT = "flan-experiment-1"
EXPERIMENT_FILE = "experiment.json"
JOBS = "jobs"
COMPILED = "compiled"
LAUNCH_LOCK = ".launch.lock"
USER_ERROR = 2  # `flan` ends so for a mistake in the settings, which trying again does not mend

Status = Literal["waiting", "running", "done", "failed", "stopped"]
STATUSES: tuple[Status, ...] = ("waiting", "running", "done", "failed", "stopped")


@dataclasses.dataclass(frozen=True)
class JobState:
    """How far a job has come.

    Attributes:
      status: `stopped` was told to stop, and goes on when it is run again.
      key: of the job that this is said of.
      attempts: times that it was started.
      exit_code: of the last attempt that ended.
      started, ended: of the last attempt, seconds since 1970.
      process: of the running attempt, on `machine`.
      machine: name of the one it runs on.
    """

    status: Status = "waiting"
    key: str = ""
    attempts: int = 0
    exit_code: int | None = None
    started: float | None = None
    ended: float | None = None
    process: int | None = None
    machine: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took, or has been running."""
        if self.started is None:
            return None
        return (self.ended or time.time()) - self.started


def job_folder(out: Path, job: str) -> Path:
    """Where a job's state and log lie."""
    return out / JOBS / job.replace("/", ".")


def read_state(out: Path, job: Job) -> JobState:
    """A job's state; a fresh one where it has none, or one of another command."""
    state = _stored(out, job)
    return state if state is not None and state.key == job.key else JobState(key=job.key)


def is_outdated(out: Path, job: Job) -> bool:
    """Whether what there is of a job's work was made by another command, or from other work."""
    state = _stored(out, job)
    return state is not None and state.key != job.key


def _stored(out: Path, job: Job) -> JobState | None:
    """The state on disk; None where there is none, or a damaged one."""
    try:
        value = json.loads((job_folder(out, job.name) / "state.json").read_bytes())
        state = _made(JobState, value)
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    times = [t for t in (state.started, state.ended) if t is not None]
    return state if state.status in STATUSES and all(map(math.isfinite, times)) else None


def is_done(out: Path, job: Job, jobs: Sequence[Job]) -> bool:
    """Whether there is nothing left to do for a job.

    One that takes what there is (a report) is to be done again when something that it shows
    ended after it began: a run that `--only` had left out, or that failed at first.
    """
    state = read_state(out, job)
    if state.status != "done" or not job.tolerant:
        return state.status == "done"
    began = state.started or 0.0
    return all((read_state(out, j).ended or 0.0) <= began for j in jobs if j.name in job.needs)


def write_state(out: Path, job: Job, state: JobState) -> None:
    """Writes a job's state, whole or not at all."""
    folder = job_folder(out, job.name)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_json(folder / "state.json", dataclasses.asdict(state))


@dataclasses.dataclass(frozen=True)
class Record:
    """What `experiment.json` says.

    Attributes:
      name: of the experiment.
      runs: see `RunSpec`.
      jobs: in order.
    """

    name: str
    runs: tuple[RunSpec, ...]
    jobs: tuple[Job, ...]


@contextlib.contextmanager
def launching(out: Path) -> Iterator[None]:
    """Keeps other launches out of a folder: they would change its jobs under those that run.

    Raises ValueError where one is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(out / LAUNCH_LOCK, wait=False))
        except BlockingIOError as error:
            raise ValueError(
                f"another `flan launch` is at work in {out}: let it end, or stop it with Ctrl-C, or "
                f"give another --out (`flan status {out}` shows how far it is)"
            ) from error
        yield


def write_record(out: Path, record: Record) -> None:
    """Writes `experiment.json`.

    Raises ValueError where the folder holds another experiment; the same one with other
    settings is written anew, and the jobs whose commands changed are run again.
    """
    path = out / EXPERIMENT_FILE
    if path.is_file() and (found := read_record(out)).name != record.name:
        raise ValueError(
            f"{out} holds the experiment {found.name!r}, not {record.name!r}: give another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_json(path, record_content(record))


def record_content(record: Record) -> dict[str, Any]:
    """What `experiment.json` holds, for JSON."""
    return {
        "format": FORMAT,
        "name": record.name,
        "runs": [dataclasses.asdict(run) for run in record.runs],
        "jobs": [dataclasses.asdict(job) for job in record.jobs],
    }


def read_record(out: Path) -> Record:
    """What `write_record` wrote.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged.
    """
    path = out / EXPERIMENT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"no experiment at {out}: expected a folder that `flan launch --out` has made"
        )
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"not of format {FORMAT!r}")
        runs = tuple(_made(RunSpec, run) for run in _objects(value, "runs"))
        jobs = tuple(_made(Job, job) for job in _objects(value, "jobs"))
        if not isinstance(value.get("name"), str):
            raise ValueError("it lacks its name")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Record(value["name"], runs, jobs)


def _objects(value: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(v, dict) for v in found):
        raise ValueError(f"{name} must be a list of objects")
    return found


def _made(kind: Callable[..., T], value: Any) -> T:
    """A dataclass of what JSON has; ValueError for entries that are not its own, or of other types."""
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {value!r}")
    hints = typing.get_type_hints(kind)
    for name, entry in value.items():
        if not fits(entry, hints.get(name, Any)):
            raise ValueError(f"{name} must be {described(hints[name])}, got {entry!r}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})
    except TypeError as error:  # unknown entries, or some that are not there
        raise ValueError(str(error)) from error
