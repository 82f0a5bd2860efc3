"""How far an experiment is, in words, from what its jobs leave on disk."""

from __future__ import annotations

import json
from pathlib import Path

from flan.data import atomic
from flan.experiments.graph import RUNS, Job
from flan.experiments.state import JobState, Record, job_folder, read_state
from flan.suggest import unknown_name

COLUMNS = ("job", "state", "attempts", "time", "progress")
_TAIL_BYTES = 4000


def progress_rows(out: Path, record: Record) -> list[tuple[str, ...]]:
    """A row of `COLUMNS` for each job."""
    rows: list[tuple[str, ...]] = []
    for job in record.jobs:
        state = read_state(out, job)
        seconds = state.seconds if state.status != "waiting" else None
        rows.append(
            (
                job.name,
                _word(state),
                str(state.attempts or ""),
                f"{seconds:,.0f} s" if seconds is not None else "",
                _detail(out, job, state),
            )
        )
    return rows


def unfinished(out: Path, record: Record) -> int:
    """How many jobs are not done."""
    return sum(read_state(out, job).status != "done" for job in record.jobs)


def log_tail(out: Path, name: str) -> str:
    """The last lines of a job's log.

    Raises ValueError for a job that there is not, FileNotFoundError for one never started.
    """
    from flan.experiments.state import read_record

    names = [job.name for job in read_record(out).jobs]
    if name not in names:
        raise ValueError(unknown_name("job", name, names))
    path = job_folder(out, name) / "log.txt"
    if not path.is_file():
        raise FileNotFoundError(f"job {name} has not been started: there is no {path}")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    # Progress bars rewrite their line; the last state of each is what counts.
    return "".join(line.rpartition("\r")[2] + "\n" for line in text.splitlines())


def _word(state: JobState) -> str:
    """The state, and whether its process is still there."""
    here = state.machine == atomic.machine()
    if state.status == "running" and here and state.process and not atomic.alive(state.process):
        return "lost"  # killed with its launcher; the next launch goes on with it
    if state.status == "failed":
        return f"failed ({state.exit_code})"
    return state.status


def _detail(out: Path, job: Job, state: JobState) -> str:
    """Step and loss of a training run; the last line of the log of what runs or failed."""
    run, _, kind = job.name.rpartition("/")
    if kind == "train" and (line := _last_metrics(out / RUNS / run / "metrics.jsonl")):
        return line
    if state.status in ("running", "failed"):
        try:
            lines = log_tail(out, job.name).strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1][:80] if lines else ""
    return ""


def _last_metrics(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    for text in reversed(lines):
        try:
            line = json.loads(text)
            return f"step {line['step']:,}, loss {line['loss']:.3f}"
        except (ValueError, KeyError, TypeError):
            continue
    return ""
