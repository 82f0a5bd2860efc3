"""Cheap commands of `flan` that stand for long jobs, and what waits for them."""

import time

from flan.experiments.graph import Job
from flan.experiments.state import read_record, read_state

GOOD = Job("prepare", ("--version",))
BAD = Job("a/train", ("no_such_command",), ("prepare",))


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


def job_named(out, name):
    return next(j for j in read_record(out).jobs if j.name == name)


def state_of(out, name):
    return read_state(out, job_named(out, name))


class InstantBackend:
    """Runs jobs as they start, through `run_job`, on commands that always succeed.

    Use it with `monkeypatch.setattr(job._Command, "run", ...)`.
    """

    def __init__(self):
        self.started = []

    def start(self, out, job):
        from flan.experiments.job import run_job

        self.started.append(job.name)
        run_job(out, job.name)
        return self

    def running(self):
        return False

    stop = kill = lambda self: None
