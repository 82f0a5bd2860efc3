"""Jobs in other processes."""

import functools
import os
import subprocess
import sys
import time

import pytest

from flan.data.workers import Workers, default_workers


def run_jobs(jobs, count):
    results = []
    with Workers(count, ["flan.data.workers", "no.such.module"]) as workers:
        for job in jobs:
            workers.add(job, results.append)
        workers.run()
    return results


JOBS = [functools.partial(pow, 2, n) for n in range(6)]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_results_come(workers):
    assert sorted(run_jobs(JOBS, workers)) == [1, 2, 4, 8, 16, 32]


def test_one_worker_is_this_process():
    assert list(run_jobs([functools.partial(os.getpid)] * 3, 1)) == [os.getpid()] * 3
    assert os.getpid() not in list(run_jobs([functools.partial(os.getpid)] * 3, 2))


@pytest.mark.parametrize("count", [1, 2])
def test_the_end_of_a_job_may_add_others(count):
    results = []
    with Workers(count) as workers:

        def halve(number):
            results.append(number)
            if number > 1:
                workers.add(functools.partial(int, number // 2), halve)

        workers.add(functools.partial(int, 40), halve)
        workers.run()
    assert results == [40, 20, 10, 5, 2, 1]


def test_jobs_not_begun_are_dropped_after_an_error(tmp_path):
    folders = [tmp_path / str(number) for number in range(2000)]
    jobs = [functools.partial(os.mkdir, folder) for folder in folders]
    with pytest.raises(ZeroDivisionError):
        run_jobs([functools.partial(divmod, 1, 0), *jobs], 2)
    assert not all(folder.exists() for folder in folders)


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
from flan.data.workers import Workers
if __name__ == "__main__":
    with Workers(2) as workers:
        for n in range(2):
            job = functools.partial(os.system, f"echo $PPID > {n}; exec sleep 60")
            workers.add(job, print)
        workers.run()
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
