"""A process that reads seqio's examples for this one, which stays free of TensorFlow."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

from flan.progress import progress_bar

log = logging.getLogger("flan")

_MODULE = "flan.data.seqio_server"
# TensorFlow is not to take the accelerator's memory, nor JAX, which seqio imports, the
# accelerator. A fixed hash seed keeps the order of a task's Python sets.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "PYTHONHASHSEED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class Closed(OSError):
    """The process was closed while somebody waited for its answer."""


class SeqioProcess:
    """Asks a `flan.data.seqio_server`, which ends with this object and with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._connection, child = start()
        self._end = weakref.finalize(self, _end, self._connection, child)
        self._child = child

    def ask(self, question: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The answer to a question, and the bytes that came with it. Shows progress and warnings.

        Raises:
          ValueError: what the process says went wrong.
          OSError: it died.
          Closed: `close` was called meanwhile.
        """
        with self._lock, contextlib.closing(_Progress()) as progress:
            try:
                if self._closed.is_set():
                    raise EOFError
                self._connection.send_bytes(json.dumps(question).encode())
                for message in self._messages():
                    for note in message.pop("notes", ()):
                        log.warning("%s", note)
                    if "error" in message:
                        raise ValueError(message["error"])
                    if "progress" not in message:
                        content = self._received() if "sizes" in message else b""
                        return message, content
                    progress.show(*message["progress"])
            except (EOFError, BrokenPipeError, ConnectionResetError):
                pass
            if self._closed.is_set():
                raise Closed("closed while waiting for seqio's examples") from None
            code = self._child.wait(timeout=10)
            raise OSError(
                f"the process that reads seqio's examples ended with code {code}, perhaps for want "
                "of memory; its own messages are above. Running again goes on from the last checkpoint"
            )

    def close(self) -> None:
        """Ends the process, and a wait for its answer in another thread."""
        self._closed.set()
        with self._lock:
            self._end()

    def _messages(self) -> Iterator[dict[str, Any]]:
        while (content := self._received()) is not None:
            yield json.loads(content)

    def _received(self) -> bytes:
        # In short waits: `close` in another thread cannot wake a reading one.
        while not self._connection.poll(0.1):
            if self._closed.is_set():
                raise EOFError
        return self._connection.recv_bytes()


def start() -> tuple[Connection, subprocess.Popen[bytes]]:
    """A new process, and the connection to it."""
    ours, theirs = multiprocessing.Pipe()
    # A user's module is to be found as it would be here.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    child = subprocess.Popen(
        [sys.executable, "-m", _MODULE, str(theirs.fileno())],
        stdin=subprocess.PIPE,
        stdout=2,  # not sys.stderr: in a notebook that is no file
        pass_fds=[theirs.fileno()],
        env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
    )
    theirs.close()
    return ours, child


def _end(connection: Connection, child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    child.stdin.close()  # for which it waits
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    connection.close()


class _Progress:
    """A bar for what the process is doing, once there is something to show."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def show(self, label: str, done: int, total: int, unit: str) -> None:
        if self._bar is None:
            self._bar = progress_bar(total, label, unit, leave=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
