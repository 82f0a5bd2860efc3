"""Jobs as processes of this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from flan.experiments.graph import Job


class LocalBackend:
    """Starts each job as a process, which stops its command when this process ends or is killed."""

    def start(self, out: Path, job: Job) -> LocalJob:
        """Starts a job; it writes to its log only."""
        command = [
            sys.executable,
            "-m",
            "flan.experiments.job",
            str(out),
            job.name,
            "--stop_with_input",
        ]
        process = subprocess.Popen(
            command,
            # The pipe ends with this process, whatever ends it, and the job notices.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the launcher's to answer
        )
        return LocalJob(process)


class LocalJob:
    """A job's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def running(self) -> bool:
        """Whether it is still at work."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Asks it to end soon."""
        if self.running():
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it and its command now."""
        if self.running():
            import os

            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
