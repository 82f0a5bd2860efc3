"""Batches of a mixture by step: a pure function of plan, step and host."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import queue
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from flan.catalog.dataset import TRAIN_CAP
from flan.data.assemble import assemble
from flan.data.batch import Batch, check_tokens
from flan.data.mixture import RATE_LIMIT, Mixture, make_mixture
from flan.data.packing import PackingPlan
from flan.data.pool import ExamplePool, Examples
from flan.data.receipt import Receipt, ReceiptLine
from flan.suggest import unknown_name

_ROWS_AT_A_TIME = 65_536
T = TypeVar("T", covariant=True)


class Batches(Protocol[T]):
    """What `prefetch` reads. It may have a `close()`, which ends a wait for a batch."""

    @property
    def num_steps(self) -> int:
        """Batches there are."""

    def batch(self, step: int) -> T:
        """The batch of a step."""


@dataclasses.dataclass(frozen=True)
class HostRows:
    """Which rows of the run a host reads at a step.

    Attributes:
      batch_size: rows of the global batch; host h of H reads the h-th H-th of them.
      num_steps: steps of the run.
      host: this host, from 0.
      num_hosts: hosts of the run.
    """

    batch_size: int
    num_steps: int
    host: int = 0
    num_hosts: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.num_steps < 1:
            raise ValueError(
                f"batch size and steps must be 1 or more, got {self.batch_size}, {self.num_steps}"
            )
        if not 0 <= self.host < self.num_hosts:
            raise ValueError(f"host {self.host} is not one of {self.num_hosts} (counted from 0)")
        if self.batch_size % self.num_hosts:
            raise ValueError(
                f"a batch of {self.batch_size} rows cannot be shared evenly by "
                f"{self.num_hosts} hosts: make it a multiple"
            )

    def of(self, step: int) -> tuple[int, int]:
        """First row and the one after the last; ValueError for a step outside the run."""
        if not 0 <= step < self.num_steps:
            raise ValueError(f"step {step} is outside the {self.num_steps} steps of the data")
        per_host = self.batch_size // self.num_hosts
        start = step * self.batch_size + self.host * per_host
        return start, start + per_host


class TrainData:
    """Packed batches of a mixture.

    Attributes:
      length: tokens of a row.
      max_targets: loss positions of a row at most, which the step may rely on.
      fingerprint: SHA-256 in hex of all that decides the batches; hosts share it.
      receipt: what is mixed, with nothing observed yet.
    """

    def __init__(
        self,
        mixture: Mixture,
        pool: ExamplePool,
        plan: PackingPlan,
        rows: HostRows,
        receipt: Receipt,
        bos_id: int = 0,
        vocab_size: int | None = None,
    ) -> None:
        self.length, self.max_targets = plan.row_length, plan.max_targets
        self.receipt = receipt
        self._mixture, self._pool, self._plan = mixture, pool, plan
        self._rows, self._bos_id, self._vocab_size = rows, bos_id, vocab_size
        content = json.dumps([plan.fingerprint, rows.batch_size, bos_id])
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

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

        Raises ValueError for a step outside `[0, num_steps)`, and for damaged tokens.
        """
        rows = self._plan.rows(*self._rows.of(step))
        tokens, input_lengths = self._pool.read(rows.examples)
        batch = assemble(tokens, input_lengths, rows.counts, self.length, self._bos_id)
        return check_tokens(batch, self._vocab_size, step)

    def observe(self, steps: int | None = None) -> Receipt:
        """The receipt of the first `steps` steps (all by default), counted row by row.

        It plans what is not planned yet, and counts the rows of all hosts.
        """
        steps = self.num_steps if steps is None else steps
        total = steps * self.batch_size
        examples, tokens, targets = np.zeros((3, len(self._mixture.components)), np.int64)
        for start in range(0, total, _ROWS_AT_A_TIME):
            rows = self._plan.rows(start, min(total, start + _ROWS_AT_A_TIME))
            component = self._pool.components(rows.examples)
            lengths, input_lengths = self._pool.lengths(rows.examples)
            np.add.at(examples, component, 1)
            np.add.at(tokens, component, lengths)
            np.add.at(targets, component, lengths - input_lengths)
        drawn = int(examples.sum())
        lines = tuple(
            dataclasses.replace(
                line,
                expected=line.probability * drawn,
                observed=int(examples[i]),
                tokens=int(tokens[i]),
                target_tokens=int(targets[i]),
                epochs=int(examples[i]) / line.used if line.used else 0.0,
            )
            for i, line in enumerate(self.receipt.lines)
        )
        density = int(tokens.sum()) / (total * self.length) if total else None
        return dataclasses.replace(self.receipt, steps=steps, lines=lines, density=density)


def open_train_data(
    datasets: Sequence[str],
    caches: Mapping[str, Sequence[Examples]],
    *,
    batch_size: int,
    length: int,
    steps: int,
    seed: int = 0,
    cap: int = TRAIN_CAP,
    rate: int = RATE_LIMIT,
    max_targets: int | None = None,
    host: int = 0,
    num_hosts: int = 1,
    plan_dir: Path | None = None,
    bos_id: int = 0,
    vocab_size: int | None = None,
    skip_empty: bool = True,
    prefix: Sequence[int] = (),
) -> TrainData:
    """The training data of a mixture.

    Args:
      datasets: names, in the order of the receipt.
      caches: dataset -> the token caches of its sources.
      batch_size: rows of the global batch.
      length: tokens of a row.
      steps: gradient steps. A longer run reads the same batches first.
      seed: of the order; the same seed reads the same batches.
      cap, rate: of the mixture, see `make_mixture`.
      max_targets: target tokens of a row at most, see `PackingPlan`.
      host, num_hosts: this host reads its share of each batch.
      plan_dir: folder for packing plans, beside the caches; None keeps them in memory.
      bos_id: id that starts each example (the vocabulary's).
      vocab_size: token ids are below this; others are refused when they are read.
      skip_empty: whether a dataset without rows is recorded in the receipt and skipped,
        or refused.
      prefix: tokens before each example, see `ExamplePool`.

    Raises:
      ValueError: a dataset without cache, nothing to train on, an example over the limits,
        or sizes that make no sense.
    """
    for name in datasets:
        if name not in caches:
            raise ValueError(unknown_name("dataset (it has no cache)", name, caches))
    rows = HostRows(batch_size, steps, host, num_hosts)
    chosen = {name: caches[name] for name in datasets}
    kept = {name: [cache.num_rows for cache in sources] for name, sources in chosen.items()}
    mixture = make_mixture(kept, cap=cap, rate=rate, seed=seed, skip_empty=skip_empty)
    pool = ExamplePool(mixture, chosen, prefix)
    plan = PackingPlan(mixture, pool, row_length=length, max_targets=max_targets, folder=plan_dir)
    receipt = _receipt(mixture, pool, chosen, cap, rate, steps, steps * batch_size * length)
    if vocab_size is not None and prefix:
        vocab_size = max(vocab_size, *(token + 1 for token in prefix))
    return TrainData(mixture, pool, plan, rows, receipt, bos_id, vocab_size)


def _receipt(
    mixture: Mixture,
    pool: ExamplePool,
    caches: Mapping[str, Sequence[Examples]],
    cap: int,
    rate: int,
    steps: int,
    tokens: int,
) -> Receipt:
    """The receipt before a run. It expects full rows of examples of each dataset's mean length."""
    expected = tokens / float(mixture.probabilities @ pool.means()[0])
    lines = tuple(
        ReceiptLine(
            dataset=component.name,
            found=sum(cache.rows_found for cache in caches[component.name]),
            kept=sum(component.kept),
            used=component.rows,
            rate=component.rate,
            probability=float(probability),
            cut=sum(cache.num_cut for cache in caches[component.name]),
            expected=expected * float(probability),
        )
        for component, probability in zip(mixture.components, mixture.probabilities, strict=True)
    )
    return Receipt(cap, rate, steps, lines)


def prefetch(data: Batches[T], start_step: int = 0, depth: int = 4) -> Generator[T, None, None]:
    """Batches from `start_step` to the last, up to `depth` of them made ahead by a thread.

    An error of the thread is raised where its batch is asked for. Closing the iterator
    stops the thread, and closes the data where they can be closed.
    """
    if depth < 1:
        raise ValueError(f"prefetch needs a depth of 1 or more, got {depth}")
    ready: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for step in range(start_step, data.num_steps):
                if not put(data.batch(step)):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        if close := getattr(data, "close", None):
            close()
        thread.join()
