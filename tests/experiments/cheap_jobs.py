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
