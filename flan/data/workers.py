"""Runs jobs in worker processes, or here where that is quicker."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import gc
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

Job = functools.partial[Any]


class Workers:
    """Processes that run jobs; a job's end may add further ones.

      with Workers(2) as workers:
          workers.add(job, print)
          workers.run()

    The processes are fresh ones or copies of a fresh one (nothing of this process is copied),
    last until the end of the block and end with this process, even if it is killed.

    Args:
      count: processes; 1 runs the jobs in this one, in order.
      preload: modules that the jobs need. Where processes can be copied, they are imported
        once for all of them.
    """

    def __init__(self, count: int, preload: Sequence[str] = ()):
        self._executor: concurrent.futures.ProcessPoolExecutor | None = None
        self._waiting: collections.deque[tuple[Job, Callable[[Any], object]]] = collections.deque()
        self._running: dict[concurrent.futures.Future[Any], Callable[[Any], object]] = {}
        if count > 1:
            context = _context(preload)
            self._executor = concurrent.futures.ProcessPoolExecutor(
                count, mp_context=context, initializer=_start_worker
            )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        """Drops the jobs not yet begun and waits for the others."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def add(self, job: Job, then: Callable[[Any], object]) -> None:
        """Adds a job, a call whose function and arguments can be pickled.

        `then` is called in this process with its result.
        """
        if self._executor is None:
            self._waiting.append((job, then))
            return
        with _broken_is_said():
            self._running[self._executor.submit(_call, job)] = then

    def run(self) -> None:
        """Runs until no job is left, those added meanwhile among them.

        A job's error is raised as it was. Raises OSError where a process died, which is what
        a machine out of memory does.
        """
        while self._waiting:
            job, then = self._waiting.popleft()
            then(job())
        while self._running:
            done, _ = concurrent.futures.wait(
                self._running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                then = self._running.pop(future)
                with _broken_is_said():
                    result = future.result()
                then(result)


def default_workers() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _context(preload: Sequence[str]) -> Any:
    """How processes are started; copying begins to import at once and does not wait for it."""
    if sys.platform != "linux":  # elsewhere system libraries do not bear copying
        return multiprocessing.get_context("spawn")
    multiprocessing.set_forkserver_preload(list(preload))
    multiprocessing.forkserver.ensure_running()
    return multiprocessing.get_context("forkserver")


@contextlib.contextmanager
def _broken_is_said() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process died, perhaps for want of memory; run again (what is finished is "
            "kept), with fewer --workers"
        ) from error


def _call(job: Job) -> Any:
    return job()


def _start_worker() -> None:
    """Ends this process when its parent ends, which a killed parent cannot ask for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer, once
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Jobs make many small objects and hardly a cycle: looking for those took a tenth of the time.
    gc.freeze()
    gc.set_threshold(100_000)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
