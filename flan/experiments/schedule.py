"""Runs an experiment's jobs in the order of their needs, several at once, on some backend."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from flan.experiments.graph import Job
from flan.experiments.state import USER_ERROR, JobState, is_done, read_state

_POLL_S = 0.2
# A cluster may stop a job as often as it likes, but one that never gets anywhere has failed.
_MOST_STOPS = 20  # in a row
_SHORT_S = 60.0  # of attempts shorter than this


class Handle(Protocol):
    """A job that was started."""

    def running(self) -> bool:
        """Whether it is still at work."""

    def stop(self) -> None:
        """Asks it to end soon; a training run saves first."""

    def kill(self) -> None:
        """Ends it now."""


class Backend(Protocol):
    """Where jobs run."""

    def start(self, out: Path, job: Job) -> Handle:
        """Starts `flan.experiments.job` for a job."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a launch ended.

    Attributes:
      done, failed: names of jobs.
      blocked: jobs that could not begin, since one that they need failed.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    blocked: tuple[str, ...]


def run(
    out: Path,
    jobs: Sequence[Job],
    backend: Backend,
    *,
    workers: int = 1,
    retries: int = 1,
    say: Callable[[str], object] = print,
) -> Outcome:
    """Runs what is not done.

    Args:
      out: the experiment's folder, with its record.
      jobs: each after those it needs.
      backend: where they run.
      workers: jobs at once.
      retries: times that a failed job is tried again. A mistake in its settings is final.
      say: takes a line on each change.

    Raises KeyboardInterrupt once all jobs have stopped; they go on in the next launch.
    """
    waiting = _not_done(out, jobs)
    done = {job.name for job in jobs} - {job.name for job in waiting}
    if done:
        say(f"{len(done)} of {len(jobs)} jobs are done already")
    failed: dict[str, None] = {}
    tried: dict[str, int] = {}
    stops: dict[str, int] = {}
    before: dict[str, JobState] = {}
    running: dict[str, tuple[Job, Handle]] = {}
    try:
        while waiting or running:
            for job in [j for j in waiting if _ready(j, done, failed, waiting, running)]:
                if len(running) >= workers:
                    break
                waiting.remove(job)
                tried[job.name] = tried.get(job.name, 0) + 1
                before[job.name] = read_state(out, job)
                running[job.name] = (job, backend.start(out, job))
                say(f"[{len(done)}/{len(jobs)}] {job.name} begins")
            if not running:
                break  # all that is left needs something that failed
            time.sleep(_POLL_S)
            for name, (job, handle) in list(running.items()):
                if handle.running():
                    continue
                del running[name]
                state = _ended(out, job, jobs, before[name])
                short = (state.seconds or 0.0) < _SHORT_S
                stops[name] = stops.get(name, 0) + 1 if state.status == "stopped" and short else 0
                if state.status == "done":
                    done.add(name)
                    say(f"[{len(done)}/{len(jobs)}] {name} done in {_duration(state)}")
                elif state.status == "stopped" and stops[name] < _MOST_STOPS:
                    # By the cluster, to make room.
                    tried[name] -= 1
                    say(f"{name} was stopped; it goes on")
                    waiting.insert(0, job)
                elif state.exit_code != USER_ERROR and tried[name] <= retries:
                    say(f"{name} ended with {state.exit_code}; trying again")
                    waiting.insert(0, job)
                else:
                    failed[name] = None
                    say(f"{name} FAILED with exit code {state.exit_code}")
    except KeyboardInterrupt:
        _stop(running, say)
        raise
    blocked = tuple(job.name for job in waiting)
    return Outcome(tuple(j.name for j in jobs if j.name in done), tuple(failed), blocked)


def _ended(out: Path, job: Job, jobs: Sequence[Job], before: JobState) -> JobState:
    """The state that an attempt left; failed where it left none, and there is that of an earlier one."""
    state = read_state(out, job)
    # Another process may have finished the job first, and this one had nothing to write.
    if state == before and not is_done(out, job, jobs):
        return JobState("failed", job.key, before.attempts)
    return state


def _not_done(out: Path, jobs: Sequence[Job]) -> list[Job]:
    """What there is to do: a report, too, where there is to be more to report."""
    found: dict[str, Job] = {}
    for job in jobs:
        if not is_done(out, job, jobs) or (job.tolerant and not found.keys().isdisjoint(job.needs)):
            found[job.name] = job
    return list(found.values())


def _ready(
    job: Job,
    done: set[str],
    failed: dict[str, None],
    waiting: Sequence[Job],
    running: dict[str, tuple[Job, Handle]],
) -> bool:
    if not job.tolerant:
        return done.issuperset(job.needs)
    blocked = _blocked(waiting, failed)
    ended = all(n in done or n in failed or n in blocked for n in job.needs)
    return ended and (not job.needs or not done.isdisjoint(job.needs))


def _blocked(waiting: Sequence[Job], failed: dict[str, None]) -> set[str]:
    """Jobs that need, perhaps through others, one that failed."""
    found: set[str] = set()
    for job in waiting:  # in order of needs
        if not job.tolerant and any(n in failed or n in found for n in job.needs):
            found.add(job.name)
    return found


def _stop(running: dict[str, tuple[Job, Handle]], say: Callable[[str], object]) -> None:
    """Asks all running jobs to end and waits for them; kills them at another Ctrl-C."""
    if not running:
        return
    say(f"stopping {', '.join(running)}; what they finished is kept (Ctrl-C again kills them)")
    try:
        for _, handle in running.values():
            handle.stop()
        while any(handle.running() for _, handle in running.values()):
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        for _, handle in running.values():
            handle.kill()


def _duration(state: JobState) -> str:
    seconds = int(state.seconds or 0)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
