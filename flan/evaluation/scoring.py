"""Rank classification: how probable a model finds each option of an example.

Each option is scored with its context as one sequence, in float32 log-softmax. Sequences
are packed into rows of a few fixed lengths by segment ids, so a score depends neither on
what else is in its batch nor on padding, and `jit` compiles a few shapes only. Logits are
computed at the option tokens, nowhere else.

Shapes: B rows, L row length, T option tokens of a row, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from flan.evaluation.prompts import RankRequest

ScoreName = Literal["sum", "token_mean", "byte_mean"]
SCORES: tuple[ScoreName, ...] = ("sum", "token_mean", "byte_mean")

# Scores this close are one score: rounding in float32 moves them by less, and
# `flan.evaluation` promises no more than this between batch sizes.
TIE_TOLERANCE = 1e-4

# Rows hold 1/8, 1/2 or all of their places in option tokens.
_TARGET_SHARES = (8, 2, 1)
_WINDOW = 512  # requests packed together
_OPEN_ROWS = 32  # rows that packing still tries to fill


@dataclasses.dataclass(frozen=True)
class OptionScores:
    """Log-probabilities of the options of one request.

    Attributes:
      log_probs: float64 `[options]`, the sum over each option's tokens.
      tokens: int `[options]`, tokens scored.
      num_bytes: int `[options]`, UTF-8 bytes of the option's text.
    """

    log_probs: np.ndarray
    tokens: np.ndarray
    num_bytes: np.ndarray

    def by(self, name: ScoreName) -> np.ndarray:
        """Scores `[options]`: the sum, its mean over tokens, or over bytes of text."""
        if name == "sum":
            return self.log_probs
        if name == "token_mean":
            return self.log_probs / self.tokens
        if name == "byte_mean":
            return self.log_probs / self.num_bytes
        raise ValueError(f"score {name!r} is not one of {SCORES}")

    def best(self, name: ScoreName = "sum") -> tuple[int, bool]:
        """The winning option and whether another one ties with it.

        Among options within `TIE_TOLERANCE` of the highest the first wins, so that rounding
        cannot change a prediction between batch sizes. The default is the paper's rule: the
        option with the highest log-probability, not divided by its length.
        """
        scores = self.by(name)
        near = np.flatnonzero(scores >= scores.max() - TIE_TOLERANCE)
        return int(near[0]), len(near) > 1


@dataclasses.dataclass(frozen=True)
class BatchShapes:
    """The fixed set of shapes that requests are packed into.

    Attributes:
      row_length: of the longest rows; nothing longer can be scored.
      batch_rows: rows of that length in a batch. Shorter rows come in larger numbers, so
        that a batch always reads about `batch_rows * row_length` tokens or, where options
        are long, computes logits at an eighth of that many places.
      shortest: length of the shortest rows; between it and `row_length` lie its doubles and
        one and a half times each of them.
    """

    row_length: int = 1280
    batch_rows: int = 8
    shortest: int = 64

    def __post_init__(self) -> None:
        if min(self.row_length, self.batch_rows, self.shortest) < 1:
            raise ValueError(f"batch shapes must be positive, got {self}")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Row lengths, ascending."""
        found, length = set(), self.shortest
        while length < self.row_length:
            found |= {length, min(length * 3 // 2, self.row_length)}
            length *= 2
        return tuple(sorted({*found, self.row_length}))

    def of(self, length: int, targets: int) -> tuple[int, int]:
        """(L, share) of the rows for a sequence of so many tokens, `targets` of them scored.

        Such rows have room for `L // share` scored tokens.
        """
        for row in self.lengths:
            if length <= row:
                share = next(s for s in _TARGET_SHARES if targets <= max(row // s, 1))
                return row, share
        raise ValueError(
            f"a sequence of {length} tokens does not fit into rows of {self.row_length}; "
            "raise row_length or cut the inputs shorter"
        )

    def batch_of(self, row: int, share: int) -> tuple[int, int, int]:
        """(B, L, T) of a batch of such rows."""
        tokens = self.batch_rows * self.row_length
        return max(tokens * share // (_TARGET_SHARES[0] * row), 1), row, max(row // share, 1)


def score_requests(
    model: Any,
    params: Any,
    requests: Sequence[RankRequest],
    *,
    start_id: int | None = 0,
    shapes: BatchShapes | None = None,
    on_progress: Callable[[int], Any] = lambda done: None,
) -> list[OptionScores]:
    """Scores all options of all requests, in the order given.

    Args:
      model: called as `flan.models.Transformer`, with `logit_positions`.
      params: its parameters.
      requests: contexts with their options.
      start_id: token read before a context (`Vocabulary.bos_id`); None for a model that
        starts with the context's first token itself.
      shapes: how requests are batched; no score depends on it.
      on_progress: called with the number of requests finished since its last call.

    Raises:
      ValueError: a request with no options, an empty option or an empty context without a
        start token, or one longer than the rows.
    """
    shapes = shapes or BatchShapes()
    results: list[OptionScores] = []
    for first in range(0, len(requests), _WINDOW):
        window = requests[first : first + _WINDOW]
        sums = [np.zeros(len(r.options)) for r in window]
        sequences = [s for i, r in enumerate(window) for s in _sequences(i, r, start_id)]
        running: list[tuple[list[_Row], jax.Array]] = []
        for rows, arrays in _batches(sequences, shapes):
            running.append((rows, _target_log_probs(model, params, *arrays)))
            if len(running) > 1:  # collect one batch while the next one computes
                _collect(*running.pop(0), sums)
        for finished in running:
            _collect(*finished, sums)
        results += [
            OptionScores(
                total,
                np.array([len(o) for o in request.options]),
                np.array(request.option_bytes),
            )
            for total, request in zip(sums, window, strict=True)
        ]
        on_progress(len(window))
    return results


@functools.partial(jax.jit, static_argnames=("model",))
def _target_log_probs(
    model: Any,
    params: Any,
    tokens: jax.Array,
    targets: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    places: jax.Array,
    wanted: jax.Array,
) -> jax.Array:
    """Float32 `[B, T]` log-probabilities of the `wanted` ids at `places`, both int32 `[B, T]`."""
    logits = model.apply(
        {"params": params},
        tokens,
        targets,
        decoder_segment_ids=segment_ids,
        decoder_positions=positions,
        logit_positions=places,
    ).astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, wanted[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


@dataclasses.dataclass(frozen=True, slots=True)
class _Sequence:
    """A context with one option: what is read, what is predicted, from where on it counts."""

    request: int
    option: int
    read: tuple[int, ...]
    predicted: tuple[int, ...]
    first: int

    @property
    def targets(self) -> int:
        return len(self.predicted) - self.first


@dataclasses.dataclass(slots=True)
class _Row:
    """Sequences that share a row."""

    length: int = 0
    targets: int = 0
    sequences: list[_Sequence] = dataclasses.field(default_factory=list)


def _sequences(number: int, request: RankRequest, start_id: int | None) -> Iterator[_Sequence]:
    if not request.options or not all(request.options):
        raise ValueError(f"request {number} has no options or an empty one: {request.options}")
    if start_id is None and not request.context:
        raise ValueError(f"request {number} has an empty context, and there is no start token")
    for option, ids in enumerate(request.options):
        whole = (*request.context, *ids)
        if start_id is None:
            yield _Sequence(number, option, whole[:-1], whole[1:], len(request.context) - 1)
        else:
            read = (start_id, *whole[:-1])
            yield _Sequence(number, option, read, whole, len(request.context))


def _batches(
    sequences: Sequence[_Sequence], shapes: BatchShapes
) -> Iterator[tuple[list[_Row], tuple[np.ndarray, ...]]]:
    by_shape: dict[tuple[int, int], list[_Sequence]] = {}
    for sequence in sequences:
        row, share = shapes.of(len(sequence.read), sequence.targets)
        by_shape.setdefault((share, row), []).append(sequence)
    left: list[_Sequence] = []
    in_order = sorted(by_shape)
    for (share, row), following in zip(in_order, [*in_order[1:], (0, 0)], strict=True):
        shape = shapes.batch_of(row, share)
        rows = _pack([*left, *by_shape[share, row]], row, shape[2])
        left = []
        rest = len(rows) % shape[0]
        if 2 * rest < shape[0] and following[0] == share:
            # Too few rows for another batch: their sequences go into longer rows.
            left = [s for r in rows[len(rows) - rest :] for s in r.sequences]
            rows = rows[: len(rows) - rest]
        for first in range(0, len(rows), shape[0]):
            batch = rows[first : first + shape[0]]
            yield batch, _arrays(batch, shape)


def _pack(sequences: Sequence[_Sequence], length: int, targets: int) -> list[_Row]:
    """First-fit decreasing under two limits: tokens and option tokens of a row."""
    rows: list[_Row] = []
    for sequence in sorted(sequences, key=lambda s: -len(s.read)):
        for row in rows[-_OPEN_ROWS:]:
            if (
                row.length + len(sequence.read) <= length
                and row.targets + sequence.targets <= targets
            ):
                break
        else:
            row = _Row()
            rows.append(row)
        row.sequences.append(sequence)
        row.length += len(sequence.read)
        row.targets += sequence.targets
    return rows


def _arrays(rows: Sequence[_Row], shape: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    """tokens, targets, positions, segment_ids `[B, L]`; places, wanted `[B, T]`; all int32."""
    batch, length, counted = shape
    tokens, targets, positions, segments = (np.zeros((batch, length), np.int32) for _ in range(4))
    places, wanted = (np.zeros((batch, counted), np.int32) for _ in range(2))
    for r, row in enumerate(rows):
        at, slot = 0, 0
        for segment, sequence in enumerate(row.sequences, start=1):
            end = at + len(sequence.read)
            tokens[r, at:end] = sequence.read
            targets[r, at:end] = sequence.predicted
            positions[r, at:end] = np.arange(end - at)
            segments[r, at:end] = segment
            stop = slot + sequence.targets
            places[r, slot:stop] = np.arange(at + sequence.first, end)
            wanted[r, slot:stop] = sequence.predicted[sequence.first :]
            at, slot = end, stop
    return tokens, targets, positions, segments, places, wanted


def _collect(rows: Sequence[_Row], log_probs: jax.Array, sums: list[np.ndarray]) -> None:
    values = np.asarray(log_probs, np.float64)
    for r, row in enumerate(rows):
        slot = 0
        for sequence in row.sequences:
            stop = slot + sequence.targets
            sums[sequence.request][sequence.option] = values[r, slot:stop].sum()
            slot = stop
