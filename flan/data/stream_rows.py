"""Rows packed out of an endless stream of examples, and the part of them that a step reads.

The stream is cut into windows of 4,096 examples, in its own order. Each is packed by
itself, as a `PackingPlan`'s windows are: all that it holds is in its rows, once. A stream
can only be read forwards, so the rows of a step cost reading all that comes before; but
they are the same each time, for any number of hosts.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan.data.best_fit import pack
from flan.data.loader import prefetch
from flan.data.packing import target_limit
from flan.data.permutation import seed_key, shuffled

# On FLAN's mixture 99.8% of the places of a row hold tokens (16,384 examples: 99.9%), and the
# first batch waits for so many examples.
WINDOW = 4_096
_WINDOWS_AHEAD = 2


class Chunk(NamedTuple):
    """Some examples.

    Attributes:
      tokens: int32 `[tokens]`, inputs and targets of each, end to end.
      lengths: int64 `[examples]`, tokens of each.
      input_lengths: int64 `[examples]`, those of them that are inputs.
      tasks: int64 `[examples]`, number of the task that each comes from.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    input_lengths: np.ndarray
    tasks: np.ndarray


def with_prefix(chunk: Chunk, prefix: Sequence[int]) -> Chunk:
    """The examples with these tokens before each one's inputs, as part of them."""
    if not prefix:
        return chunk
    starts = np.cumsum(chunk.lengths) - chunk.lengths
    places = np.repeat(starts, len(prefix))
    head = np.tile(np.array(prefix, np.int32), len(starts))
    return Chunk(
        np.insert(chunk.tokens, places, head),
        chunk.lengths + len(prefix),
        chunk.input_lengths + len(prefix),
        chunk.tasks,
    )


class StepRows(NamedTuple):
    """The rows that a host reads at a step.

    Attributes:
      tokens: int32 `[tokens]`, row by row.
      lengths: int64 `[examples]`, tokens of each example.
      input_lengths: int64 `[examples]`.
      counts: int64 `[rows]`, examples of each row.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    input_lengths: np.ndarray
    counts: np.ndarray


class _Window(NamedTuple):
    """A packed chunk: `places` of its examples row by row, and `ends` of rows in them, 0 first."""

    chunk: Chunk
    starts: np.ndarray  # of each example in the chunk's tokens
    places: np.ndarray
    ends: np.ndarray

    @property
    def num_rows(self) -> int:
        return len(self.ends) - 1


class RowStream:
    """Rows of a stream, forwards.

    Attributes:
      max_targets: target tokens of a row at most.
      digest: SHA-256 in hex of the first window's examples.
      mean_length: tokens of a mean example of the first window.
      ends_in: the last token of the first window's examples, where it is always the same.
      step: the next step that `next_rows` gives.
      counts: int64 `[3, tasks]`, examples, tokens and target tokens of the rows before that
        step, of all hosts.
    """

    def __init__(
        self,
        chunks: Iterator[Chunk],
        *,
        tasks: int,
        row_length: int,
        longest_targets: int,
        batch_size: int,
        host: int = 0,
        hosts: int = 1,
        seed: int = 0,
        progress: Callable[[int], None] = lambda examples: None,
    ) -> None:
        """Reads and packs the first window; a thread goes on with the next.

        Args:
          chunks: the stream; read by the thread.
          tasks: their number.
          row_length: tokens of a row.
          longest_targets: target tokens of an example at most.
          batch_size: rows of the global batch.
          host, hosts: which part of them `next_rows` gives.
          seed: of the order of a window's rows.
          progress: told of the examples read while the first window is.

        Raises:
          ValueError: no example, one over the limits, or none with a target.
        """
        assert batch_size % hosts == 0
        assert host < hosts
        self.step = 0
        self.counts = np.zeros((3, tasks), np.int64)
        self._batch_size, self._host, self._hosts = batch_size, host, hosts
        windows = _Windows(chunks, row_length, longest_targets, seed, progress)
        self._windows = prefetch(windows, depth=_WINDOWS_AHEAD)
        self._window = next(self._windows)
        self._row = 0  # of the window, the next to be read
        first = self._window.chunk
        self.max_targets = windows.max_targets
        self.mean_length = float(first.lengths.mean())
        last = np.unique(first.tokens[np.cumsum(first.lengths) - 1])
        self.ends_in = int(last[0]) if len(last) == 1 else None
        content = hashlib.sha256()
        for array in first:
            content.update(array.tobytes())
        self.digest = content.hexdigest()

    def next_rows(self) -> StepRows:
        """The rows of this host at `step`, which goes on to the next.

        Raises ValueError where the stream ends, and what the stream raises.
        """
        share = self._batch_size // self._hosts
        mine = range(self._host * share, (self._host + 1) * share)
        parts: list[StepRows] = []
        row = 0
        for window, start, stop in self._take(self._batch_size):
            first = max(start, start + mine.start - row)
            last = min(stop, start + mine.stop - row)
            if first < last:
                parts.append(_rows(window, first, last))
            row += stop - start
        self.step += 1
        return StepRows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def skip_to(self, step: int, progress: Callable[[int], None] = lambda step: None) -> None:
        """Reads on to a later step.

        Args:
          step: the next that `next_rows` is to give.
          progress: told of the steps reached on the way.
        """
        assert step >= self.step
        goal = step * self._batch_size
        row = self.step * self._batch_size
        while row < goal:
            count = min(goal - row, max(1, self._window.num_rows))
            self._take(count)
            row += count
            progress(row // self._batch_size)
        self.step = step

    def close(self) -> None:
        """Stops the thread."""
        self._windows.close()

    def _take(self, count: int) -> list[tuple[_Window, int, int]]:
        """The next rows, as rows `[start, stop)` of windows; counts them."""
        taken = []
        while count:
            if self._row == self._window.num_rows:
                self._window, self._row = next(self._windows), 0
            stop = min(self._window.num_rows, self._row + count)
            taken.append((self._window, self._row, stop))
            count -= stop - self._row
            self._row = stop
        for window, start, stop in taken:
            self.counts += _counts(window, start, stop, self.counts.shape[1])
        return taken


def _rows(window: _Window, start: int, stop: int) -> StepRows:
    places = window.places[window.ends[start] : window.ends[stop]]
    lengths = window.chunk.lengths[places]
    ends = np.cumsum(lengths)
    # Each token's place in the chunk: its example's start, and on from there.
    shift = np.repeat(window.starts[places] - (ends - lengths), lengths)
    tokens = window.chunk.tokens[np.arange(len(shift)) + shift]
    counts = np.diff(window.ends[start : stop + 1])
    return StepRows(tokens, lengths, window.chunk.input_lengths[places], counts)


def _counts(window: _Window, start: int, stop: int, tasks: int) -> np.ndarray:
    places = window.places[window.ends[start] : window.ends[stop]]
    of, lengths = window.chunk.tasks[places], window.chunk.lengths[places]
    targets = lengths - window.chunk.input_lengths[places]
    weights = (None, lengths, targets)
    found = [np.bincount(of, weight, minlength=tasks) for weight in weights]
    return np.array(found).astype(np.int64)


class _Windows:
    """Windows by number, each read once and in order, for `prefetch` to make ahead."""

    num_steps = sys.maxsize

    def __init__(
        self,
        chunks: Iterator[Chunk],
        row_length: int,
        longest_targets: int,
        seed: int,
        progress: Callable[[int], None],
    ) -> None:
        self.max_targets = 0  # until the first window is read
        self._chunks, self._seed, self._progress = chunks, seed, progress
        self._row_length, self._longest_targets = row_length, longest_targets
        self._rest: list[Chunk] = []
        self._examples = 0

    def batch(self, step: int) -> _Window:
        """The next window; it is the `step`-th."""
        chunk = self._read(report=step == 0)
        self._examples += len(chunk.lengths)
        targets = chunk.lengths - chunk.input_lengths
        if not len(chunk.lengths):
            raise ValueError(
                f"the stream ended after {self._examples:,} examples: ask for fewer steps"
                if self._examples
                else "the stream has no examples"
            )
        if (longest := int(chunk.lengths.max())) > self._row_length:
            raise ValueError(
                f"an example of the stream has {longest} tokens and a row {self._row_length}"
            )
        if step == 0:
            if not targets.any():
                raise ValueError(
                    f"none of the stream's first {len(targets):,} examples has target tokens: "
                    "there is nothing to learn from"
                )
            share = float(targets.sum()) / float(chunk.lengths.sum())
            self.max_targets = target_limit(self._row_length, self._longest_targets, share)
        packed = pack(
            chunk.lengths, targets, row_length=self._row_length, max_targets=self.max_targets
        )
        # Later rows of a window choose from a poorer pool: spread them over it.
        order = shuffled(len(packed.counts), seed_key("stream", self._seed, step))
        ends = np.cumsum(packed.counts)
        places = [packed.items[ends[row] - packed.counts[row] : ends[row]] for row in order]
        return _Window(
            chunk,
            np.cumsum(chunk.lengths) - chunk.lengths,
            np.concatenate(places),
            np.concatenate([[0], np.cumsum(packed.counts[order])]),
        )

    def _read(self, report: bool) -> Chunk:
        """The next `WINDOW` examples, fewer at the stream's end."""
        parts, count = self._rest, sum(len(part.lengths) for part in self._rest)
        while count < WINDOW and (chunk := next(self._chunks, None)) is not None:
            parts.append(chunk)
            count += len(chunk.lengths)
            if report:
                self._progress(min(count, WINDOW))
        whole = _join(parts)
        tokens = int(whole.lengths[:WINDOW].sum())
        rest = Chunk(whole.tokens[tokens:], *(array[WINDOW:] for array in whole[1:]))
        self._rest = [rest] if len(rest.lengths) else []
        return Chunk(whole.tokens[:tokens], *(array[:WINDOW] for array in whole[1:]))


def _join(chunks: list[Chunk]) -> Chunk:
    nothing = Chunk(np.zeros(0, np.int32), *(np.zeros(0, np.int64) for _ in range(3)))
    return Chunk(*(np.concatenate(arrays) for arrays in zip(nothing, *chunks, strict=True)))
