"""Runs jobs of an experiment, one after another, and notes how they went; what every backend starts.

  python -m flan.experiments.job EXPERIMENT_FOLDER JOB [JOB ...]

SIGTERM, or (on request) the end of whoever holds the other end of its input pipe, is passed on
to the command as SIGTERM: `flan train` saves and ends then.

A training on several hosts is started in each of them, with --num_processes and --process_id:
process 0 keeps the state and does all other jobs alone.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from flan.data import atomic
from flan.errors import exit_code
from flan.experiments.graph import Job
from flan.experiments.hosts import Hosts
from flan.experiments.locks import lock as locked
from flan.experiments.state import (
    COMPILED,
    EXPERIMENT_FILE,
    USER_ERROR,
    JobState,
    Status,
    is_done,
    job_folder,
    read_record,
    read_state,
    write_state,
)
from flan.suggest import unknown_name

EXIT_STOPPED = 75  # what `flan train` ends with when SIGTERM stopped it
_ALONE = Hosts()
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def main() -> int:
    """Runs the jobs named on the command line; returns the exit code of the last one begun."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("jobs", nargs="+", metavar="JOB")
    parser.add_argument("--record", type=Path, help="put this experiment.json into the folder")
    parser.add_argument("--retries", type=int, default=0, help="times a failed job is tried again")
    parser.add_argument("--stop_with_input", action="store_true", help="when stdin ends")
    parser.add_argument("--num_processes", type=int, default=1)
    parser.add_argument("--process_id", type=int, default=0)
    parser.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    args = parser.parse_args()
    try:
        return _run_all(args)
    except (OSError, ValueError) as error:
        print(f"flan.experiments.job: {error}", file=sys.stderr)
        return exit_code(error)


def _run_all(args: argparse.Namespace) -> int:
    hosts = Hosts(args.num_processes, args.process_id, args.coordinator_address)
    if args.record:
        put_record(args.out, args.record, hosts)
    for name in args.jobs:
        check_needs(args.out, name)
        for _ in range(args.retries + 1):
            code = run_job(args.out, name, hosts=hosts, stop_with_input=args.stop_with_input)
            if code in (0, USER_ERROR, EXIT_STOPPED):
                break
        if code:
            return code
    return 0


def put_record(out: Path, record: Path, hosts: Hosts, patience_s: float = 300) -> None:
    """Has `experiment.json` in the folder be `record`.

    Process 0 writes it; the others wait until they see it.

    Raises TimeoutError where they do not within `patience_s` seconds.
    """
    wanted, path = record.read_bytes(), out / EXPERIMENT_FILE
    until = time.monotonic() + patience_s
    while not (path.is_file() and path.read_bytes() == wanted):
        if hosts.first:
            out.mkdir(parents=True, exist_ok=True)
            atomic.write_file(path, wanted)
        elif time.monotonic() > until:
            raise TimeoutError(
                f"process {hosts.process} has waited {patience_s:g} s for process 0 to write {path}: "
                "all hosts must see one folder"
            )
        else:
            time.sleep(1)


def check_needs(out: Path, name: str) -> None:
    """ValueError where a job's needs are not done; some of them are enough for a tolerant one."""
    record = read_record(out)
    jobs = {job.name: job for job in record.jobs}
    if name not in jobs:
        raise ValueError(unknown_name("job", name, jobs))
    needs = jobs[name].needs
    missing = [n for n in needs if read_state(out, jobs[n]).status != "done"]
    if len(missing) > (max(0, len(needs) - 1) if jobs[name].tolerant else 0):
        raise ValueError(f"{name} needs {', '.join(missing)}, not done in {out}: run that first")


def run_job(out: Path, name: str, *, hosts: Hosts = _ALONE, stop_with_input: bool = False) -> int:
    """Runs a job, unless it is done, and writes its state and log.

    Args:
      out: the experiment's folder.
      name: the job's.
      hosts: those that run a training together.
      stop_with_input: stop the command when standard input ends.

    Returns:
      The command's exit code; `EXIT_STOPPED` for one that a signal ended.

    Raises ValueError for a name that the experiment does not have.
    """
    jobs = read_record(out).jobs
    job = next((j for j in jobs if j.name == name), None)
    if job is None:
        raise ValueError(unknown_name("job", name, [j.name for j in jobs]))
    folder = job_folder(out, name)
    folder.mkdir(parents=True, exist_ok=True)
    together = name.endswith("/train")
    if not hosts.first:
        if not together or read_state(out, job).status == "done":
            return 0
        with (folder / f"log.{hosts.process}.txt").open("ab") as log:
            return _Command(out, [*job.arguments, *hosts.flags()], log.fileno()).run(
                stop_with_input
            )
    # Held until no process is at this job, its command included: one that a killed launcher or
    # a killed wrapper left behind, say.
    with locked(folder / ".lock", wait=True) as lock, (folder / "log.txt").open("ab") as log:
        state = read_state(out, job)
        if is_done(out, job, jobs):
            return 0
        arguments = [*job.arguments, *(hosts.flags() if together else ())]
        command = _Command(out, arguments, log.fileno(), held=[lock.fileno()])
        return _noted(out, job, state.attempts + 1, command, stop_with_input)


def _noted(out: Path, job: Job, attempt: int, command: _Command, stop_with_input: bool) -> int:
    started = time.time()
    here = (os.getpid(), atomic.machine())
    write_state(out, job, JobState("running", job.key, attempt, None, started, None, *here))
    code = command.run(stop_with_input)
    endings: dict[int, Status] = {0: "done", EXIT_STOPPED: "stopped"}
    status = endings.get(code, "failed")
    write_state(out, job, JobState(status, job.key, attempt, command.code, started, time.time()))
    return code


class _Command:
    """One command of `flan` as a process of its own, which can be told to stop."""

    def __init__(self, out: Path, arguments: list[str], log: int, held: Sequence[int] = ()) -> None:
        self.code: int | None = None
        self._out, self._arguments, self._log, self._held = out, arguments, log, held
        self._process: subprocess.Popen[bytes] | None = None
        self._told = threading.Event()

    def run(self, stop_with_input: bool) -> int:
        """Its exit code, `EXIT_STOPPED` where it was stopped before its end."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.stop)
            signal.signal(signal.SIGINT, self.stop)
        os.write(self._log, f"$ flan {shlex.join(self._arguments)}\n".encode())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flan.cli.main", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=_environment(self._out),
            pass_fds=self._held,
            preexec_fn=_end_with_parent(),
        )
        if self._told.is_set():  # before there was a process to tell
            self.stop()
        if stop_with_input:
            threading.Thread(target=_when_input_ends, args=(self.stop,), daemon=True).start()
        self.code = self._process.wait()
        stopped = self.code == EXIT_STOPPED or (self._told.is_set() and self.code != 0)
        return EXIT_STOPPED if stopped else self.code

    def stop(self, *_: object) -> None:
        """Sends SIGTERM; also from a signal's handler, or another thread."""
        self._told.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def _environment(out: Path) -> dict[str, str]:
    """Of a job's command: what one job has compiled, the others need not compile again."""
    return {"JAX_COMPILATION_CACHE_DIR": str(out.resolve() / COMPILED), **os.environ}


def _when_input_ends(stop: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    stop()


def _end_with_parent() -> Callable[[], object] | None:
    """What has a new process get SIGTERM once its parent is gone, killed or not; on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: little is safe between fork and exec
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
