"""Jobs in other processes."""

import functools
import os
import subprocess
import sys
import time

import pytest

from flan.data.workers import default_workers, run_jobs

JOBS = [functools.partial(pow, 2, n) for n in range(6)]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_results_come(workers):
    assert sorted(run_jobs(JOBS, workers)) == [1, 2, 4, 8, 16, 32]


def test_one_worker_is_this_process():
    assert list(run_jobs([functools.partial(os.getpid)] * 3, 1)) == [os.getpid()] * 3
    assert os.getpid() not in list(run_jobs([functools.partial(os.getpid)] * 3, 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_arrive_as_they_were(workers):
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_jobs([functools.partial(int, "x"), functools.partial(int, "1")], workers))


def test_a_dead_worker_is_said():
    with pytest.raises(OSError, match="a worker process died"):
        list(run_jobs([functools.partial(os._exit, 3)] * 2, 2))


def test_workers_end_with_a_killed_parent(tmp_path):
    code = """
import functools, os, time
from flan.data.workers import run_jobs
if __name__ == "__main__":
    jobs = [functools.partial(os.system, f"echo $PPID > {n}; exec sleep 60") for n in range(2)]
    list(run_jobs(jobs, 2))
"""
    (tmp_path / "main.py").write_text(code)
    parent = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not all((tmp_path / str(n)).exists() for n in range(2)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)
    workers = [int((tmp_path / str(n)).read_text()) for n in range(2)]
    parent.kill()
    parent.wait()
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_default_workers():
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
