"""Runs jobs in worker processes, or here where that is quicker."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

T = TypeVar("T")


def run_jobs(jobs: Iterable[functools.partial[T]], workers: int) -> Iterator[T]:
    """Yields the results of the jobs as they are done, in any order.

    Args:
      jobs: calls whose functions and arguments can be pickled.
      workers: processes; 1 runs the jobs in this one, in order.

    A job's error is raised as it was, and the jobs not yet begun are dropped. The processes
    are fresh ones (nothing is forked) and end with this one, even if it is killed.

    Raises OSError where a process died, which is what a machine out of memory does.
    """
    jobs = list(jobs)
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job()
        return
    executor = concurrent.futures.ProcessPoolExecutor(
        min(workers, len(jobs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        futures = [executor.submit(_call, job) for job in jobs]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process died, perhaps for want of memory; run again (what is finished is "
            "kept), with fewer --workers"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def default_workers() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(job: Callable[[], Any]) -> Any:
    return job()


def _start_worker() -> None:
    """Ends this process when its parent ends, which a killed parent cannot ask for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer, once
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
