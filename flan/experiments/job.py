"""Runs one job of an experiment and notes how it went; what every backend starts.

  python -m flan.experiments.job EXPERIMENT_FOLDER JOB

SIGTERM, or the end of whoever holds the other end of its input pipe, is passed on to the
command as SIGTERM: `flan train` saves and ends then.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flan.experiments.graph import Job
from flan.experiments.state import (
    COMPILED,
    JobState,
    Status,
    job_folder,
    read_record,
    read_state,
    write_state,
)

EXIT_STOPPED = 75  # what `flan train` ends with when SIGTERM stopped it


def main() -> int:
    """Runs a job named on the command line; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("job")
    args = parser.parse_args()
    return run_job(args.out, args.job, stop_with_input=True)


def run_job(out: Path, name: str, stop_with_input: bool = False) -> int:
    """Runs a job, unless it is done, and writes its state and log.

    Args:
      out: the experiment's folder.
      name: the job's.
      stop_with_input: stop the command when standard input ends.

    Returns:
      The command's exit code; `EXIT_STOPPED` for one that a signal ended.

    Raises ValueError for a name that the experiment does not have.
    """
    job = next((j for j in read_record(out).jobs if j.name == name), None)
    if job is None:
        raise ValueError(f"{out} has no job {name!r}")
    folder = job_folder(out, name)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), (folder / "log.txt").open("ab") as log:
        state = read_state(out, job)
        if state.status == "done":
            return 0
        return _run(out, job, state.attempts + 1, log.fileno(), stop_with_input)


def _run(out: Path, job: Job, attempt: int, log: int, stop_with_input: bool) -> int:
    started = time.time()
    running: list[subprocess.Popen[bytes]] = []
    told = threading.Event()

    def stop(*_: object) -> None:
        told.set()
        for process in running:
            if process.poll() is None:
                process.terminate()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    write_state(out, job, JobState("running", job.key, attempt, None, started, None, os.getpid()))
    os.write(log, f"$ flan {shlex.join(job.arguments)}\n".encode())
    command = [sys.executable, "-m", "flan.cli.main", *job.arguments]
    running.append(
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(out)
        )
    )
    if told.is_set():  # before there was a process to tell
        stop()
    if stop_with_input:
        threading.Thread(target=_when_input_ends, args=(stop,), daemon=True).start()
    code = running[0].wait()
    stopped = code == EXIT_STOPPED or (told.is_set() and code != 0)
    status: Status = "done" if code == 0 else "stopped" if stopped else "failed"
    write_state(out, job, JobState(status, job.key, attempt, code, started, time.time()))
    return EXIT_STOPPED if stopped else code


def _environment(out: Path) -> dict[str, str]:
    """Of a job's command: what one job has compiled, the others need not compile again."""
    return {"JAX_COMPILATION_CACHE_DIR": str(out.resolve() / COMPILED), **os.environ}


def _when_input_ends(stop: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    stop()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process is at this job, one that a killed launcher left behind, say."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
