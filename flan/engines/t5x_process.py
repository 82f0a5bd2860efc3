"""The process that T5X trains in: it asks for batches and tells what it measures.

    asks                                   is answered
    {"batch": 7}                           the arrays of `flan.data.batch.Batch`, end to end
    {"metrics": {...}, "step": 10}         "go", or "stop" to save and end
    {"done": 100}, {"stopped": 60}         nothing: it ends
    {"error": "..."}                       nothing: it ends

It ends with this process, whatever ends that.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from flan.data.batch import Batch

_MODULE = "flan.engines.t5x_train"


class T5xFailed(RuntimeError):
    """T5X ended with an error, or died."""


class T5xProcess:
    """A context: within it T5X trains."""

    def __init__(self, plan: Mapping[str, Any], environment: Mapping[str, str | None]) -> None:
        """Starts it.

        Args:
          plan: what to do, see `flan.engines.t5x_train.Plan`.
          environment: variables that it has otherwise than this process; None removes one.
        """
        self._connection, theirs = multiprocessing.Pipe()
        env = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._child = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=2,  # not sys.stderr: in a notebook that is no file
            pass_fds=[theirs.fileno()],
            env={name: value for name, value in env.items() if value is not None},
        )
        theirs.close()
        self._say(plan)

    def __enter__(self) -> T5xProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._child.stdin
        self._child.stdin.close()  # for which it waits
        try:
            self._child.wait(timeout=30 if kind is None else 5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._connection.close()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it asks and tells, until it is done; T5xFailed where it fails."""
        while True:
            try:
                message = json.loads(self._connection.recv_bytes())
            except (EOFError, ConnectionResetError):
                code = self._child.wait(timeout=30)
                raise T5xFailed(
                    f"T5X's process ended with code {code}, perhaps for want of memory; its own "
                    "messages are above. Running again goes on from the last checkpoint"
                ) from None
            if "error" in message:
                raise T5xFailed(f"T5X: {message['error']}; its own messages are above")
            yield message
            if "done" in message or "stopped" in message:
                return

    def give(self, batch: Batch) -> None:
        """Answers a question for a batch."""
        self._send(pack(batch))

    def answer(self, word: str) -> None:
        """Answers metrics: `go` or `stop`."""
        self._say(word)

    def _say(self, value: Any) -> None:
        self._send(json.dumps(value).encode())

    def _send(self, content: bytes) -> None:
        # Where nobody listens any more, the next message says why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send_bytes(content)


def pack(batch: Batch) -> bytes:
    """The arrays, end to end."""
    return b"".join(np.ascontiguousarray(array).tobytes() for array in batch)


def unpack(content: bytes, rows: int, length: int) -> Batch:
    """What `pack` packed: `[rows, length]` arrays, int32 and the weights float32."""
    arrays = np.frombuffer(content, np.int32).reshape(len(Batch._fields), rows, length)
    found = Batch(*arrays)
    return found._replace(loss_weights=found.loss_weights.view(np.float32))
