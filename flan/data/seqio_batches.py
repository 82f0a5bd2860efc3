"""Batches straight from a seqio task or mixture, with no cache.

Another process reads, tokenizes and packs (`flan.data.seqio_server`); here its rows become
a `Batch`. Each host reads the whole stream and takes its rows, so that all see the batches
that one host would. Nothing of a stream is kept: the batch of a step costs reading all that
comes before it, unless steps are asked for in order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from flan.data.assemble import assemble
from flan.data.batch import Batch
from flan.data.loader import HostRows
from flan.data.receipt import Receipt, ReceiptLine
from flan.data.seqio_process import SeqioProcess
from flan.data.seqio_request import StreamRequest
from flan.data.stream_rows import WINDOW, StepRows

VERSION = 1
_COUNTS_KEPT = 64  # steps; more than are made ahead of training


class SeqioBatches:
    """Packed batches of a stream, the same for a step whenever it is asked for.

    Attributes:
      length: tokens of a row.
      max_targets: loss positions of a row at most.
      fingerprint: SHA-256 in hex of the request and of the stream's first examples; hosts
        share it.
      receipt: the tasks, with nothing observed yet.
    """

    def __init__(
        self,
        request: StreamRequest,
        steps: int,
        *,
        vocabulary_fingerprint: str,
        bos_id: int = 0,
    ) -> None:
        """Starts the process and waits for the first rows.

        Args:
          request: which stream, and which part of it.
          steps: gradient steps of the run.
          vocabulary_fingerprint: of the request's vocabulary.
          bos_id: what the model reads at an example's first place.

        Raises:
          ValueError: what is wrong with the request, its task or the stream.
          OSError: the process died.
        """
        self._request, self._bos_id = request, bos_id
        self._rows = HostRows(request.batch_size, steps, request.host, request.hosts)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._next = 0
        self._counts: OrderedDict[int, np.ndarray] = OrderedDict()
        self._opened = opened = self._open()
        self.length: int = request.row_length
        self.max_targets: int = opened["max_targets"]
        own = {"vocabulary", "host", "hosts", "data_dir", "modules", "skip_missing"}
        if not request.prefix:  # it came later: runs without one stay the same
            own.add("prefix")
        asked = {k: v for k, v in request.to_json().items() if k not in own}
        content = [VERSION, WINDOW, asked, opened, bos_id, vocabulary_fingerprint]
        text = json.dumps(content, sort_keys=True)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        self.receipt = self._receipt()

    @property
    def num_steps(self) -> int:
        """Steps of the run."""
        return self._rows.num_steps

    @property
    def batch_size(self) -> int:
        """Rows of the global batch."""
        return self._rows.batch_size

    def batch(self, step: int) -> Batch:
        """The rows of this host in the batch of `step`: arrays `[batch_size / num_hosts, length]`.

        The step after the last one asked for is at hand; a later one costs reading on to
        it, an earlier one beginning anew.

        Raises:
          ValueError: a step outside `[0, num_steps)`, the stream ended, a task failed, or
            the stream is not what it was when it was read before.
          OSError: the process died, or was closed.
        """
        self._rows.of(step)
        with self._lock:
            answer, content = self._ask(step, rows=True)
            self._next = step + 1
            self._remember(step + 1, answer)
        rows = _unpacked(answer["sizes"], content)
        examples = np.split(rows.tokens, np.cumsum(rows.lengths)[:-1])
        inputs = rows.input_lengths.tolist()
        return assemble(examples, inputs, rows.counts, self.length, self._bos_id)

    def observe(self, steps: int | None = None) -> Receipt:
        """The receipt of the first `steps` steps (all by default), the rows of all hosts counted.

        At once for steps that were just read; else it costs reading up to there.
        """
        steps = self.num_steps if steps is None else steps
        with self._lock:
            if steps not in self._counts:
                answer, _ = self._ask(steps, rows=False)
                self._next = steps
                self._remember(steps, answer)
            examples, tokens, targets = self._counts[steps]
        drawn = int(examples.sum())
        lines = tuple(
            dataclasses.replace(
                line,
                expected=line.probability * drawn,
                observed=int(examples[i]),
                tokens=int(tokens[i]),
                target_tokens=int(targets[i]),
            )
            for i, line in enumerate(self.receipt.lines)
        )
        places = steps * self.batch_size * self.length
        density = int(tokens.sum()) / places if places else None
        return dataclasses.replace(self.receipt, steps=steps, lines=lines, density=density)

    def close(self) -> None:
        """Ends the process, and a wait for a batch in another thread, for good.

        `observe` still knows the steps that were just read.
        """
        self._closed.set()
        self._process.close()

    def _ask(self, step: int, rows: bool) -> tuple[dict[str, Any], bytes]:
        """The process's answer for a step; it is started again where it is past the step."""
        if step < self._next:
            self._process.close()
            if self._open() != self._opened:
                self._raise_changed()
        return self._process.ask({"step": step, "rows": rows})

    def _open(self) -> dict[str, Any]:
        """Starts a process; what it says of the stream."""
        self._process = SeqioProcess()
        if self._closed.is_set():  # just before the new process was there to be closed
            self._process.close()
        try:
            opened, _ = self._process.ask({"stream": self._request.to_json()})
        except BaseException:
            self._process.close()
            raise
        return opened

    def _raise_changed(self) -> NoReturn:
        raise ValueError(
            f"{self._request.name}: the stream begins with other examples than when it was read "
            "before. Its data or its task's code has changed, or a step of the task is random and "
            "does not follow seqio's seed"
        )

    def _remember(self, steps: int, answer: dict[str, Any]) -> None:
        self._counts[steps] = np.array(answer["counts"], np.int64)
        if len(self._counts) > _COUNTS_KEPT:
            self._counts.popitem(last=False)

    def _receipt(self) -> Receipt:
        tasks = self._opened["tasks"]
        total = sum(rate for _, rate, _ in tasks)
        examples = self.num_steps * self.batch_size * self.length / self._opened["mean_length"]
        lines = tuple(
            ReceiptLine(
                dataset=name,
                found=found,
                kept=None,
                used=None,
                rate=rate,
                probability=rate / total,
                cut=None,
                expected=examples * rate / total,
            )
            for name, rate, found in tasks
        )
        return Receipt(None, None, self.num_steps, lines)


def _unpacked(sizes: list[int], content: bytes) -> StepRows:
    parts = np.split(np.frombuffer(content, np.int32), np.cumsum(sizes)[:-1])
    return StepRows(parts[0], *(part.astype(np.int64) for part in parts[1:]))


def task_vocabulary(name: str, modules: tuple[str, ...], cache_dir: Path) -> Path | None:
    """The vocabulary that a registered task brings along; None for tasks of ours.

    Raises ValueError for an unknown name or module, or a vocabulary that cannot be taken over.
    """
    process = SeqioProcess()
    try:
        question = {"name": name, "modules": modules, "cache_dir": str(cache_dir)}
        answer, _ = process.ask({"vocabulary": question})
    finally:
        process.close()
    return Path(answer["vocabulary"]) if answer["vocabulary"] else None
