"""Packs contexts with their options into rows, many to a row.

    row        [context 1][option 1][option 2] [context 2][option 1][option 2][option 3] ...
    segment     1 ....................          2 ................................
    option      0 ...      1 ..      2 ..       0 ...      1 ..      2 ..      3 ..
    position    0 1 2      3 4       3 4        0 1 2      3 4       3         3 4 5

The context of an example is read once. Its last place predicts the first token of each
option; an option's own places read all its tokens but the last.

Shapes: B rows, L row length, T places with logits, W tokens picked out of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan.evaluation.shapes import SHARES, WANTED_PER_PLACE, BatchShapes, RowShape

_WINDOW = 512  # pieces packed together
_OPEN_ROWS = 64  # rows that packing still tries to fill


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A context and options of it that share its places in a row.

    Attributes:
      request: which one.
      first: number of the first of its options here.
      prefix: tokens read before every option, at least one.
      options: the options' tokens, each at least one.
    """

    request: int
    first: int
    prefix: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Places that it takes of a row."""
        return len(self.prefix) + self.wanted - len(self.options)

    @property
    def places(self) -> int:
        """Places that need logits."""
        return 1 + self.wanted - len(self.options)

    @property
    def wanted(self) -> int:
        """Tokens scored."""
        return sum(map(len, self.options))


@dataclasses.dataclass(slots=True)
class Row:
    """Pieces that share a row, and the room left there."""

    shape: RowShape
    length: int = 0
    places: int = 0
    wanted: int = 0
    pieces: list[Piece] = dataclasses.field(default_factory=list)

    def room(self, piece: Piece) -> int:
        """Places left after the piece; below 0 where it does not fit."""
        if (
            self.places + piece.places > self.shape.places
            or self.wanted + piece.wanted > self.shape.wanted
        ):
            return -1
        return self.shape.length - self.length - piece.size

    def add(self, piece: Piece) -> None:
        """Puts a piece that fits into the row."""
        self.pieces.append(piece)
        self.length += piece.size
        self.places += piece.places
        self.wanted += piece.wanted


class RowArrays(NamedTuple):
    """What the model is fed, int32: `[B, L]`, then `places` `[B, T]`, the rest `[B, W]`.

    `slots` says in which of its row's `places` each of the `wanted` tokens is predicted.
    """

    tokens: np.ndarray
    positions: np.ndarray
    segment_ids: np.ndarray
    option_ids: np.ndarray
    places: np.ndarray
    slots: np.ndarray
    wanted: np.ndarray


def split_request(
    number: int,
    prefix: tuple[int, ...],
    options: Sequence[tuple[int, ...]],
    shapes: BatchShapes,
) -> Iterator[Piece]:
    """A request as few pieces as fit into rows; ValueError where an option alone does not."""
    length, most = shapes.row_length, WANTED_PER_PLACE * shapes.row_length
    held: list[tuple[int, ...]] = []
    size, wanted, first = len(prefix), 0, 0
    for option, ids in enumerate(options):
        if len(prefix) + len(ids) - 1 > length:
            raise ValueError(
                f"a sequence of {len(prefix) + len(ids) - 1} tokens does not fit into rows of "
                f"{length}; raise row_length or cut the inputs shorter"
            )
        if held and (size + len(ids) - 1 > length or wanted + len(ids) > most):
            yield Piece(number, first, prefix, tuple(held))
            held, size, wanted, first = [], len(prefix), 0, option
        held.append(ids)
        size, wanted = size + len(ids) - 1, wanted + len(ids)
    yield Piece(number, first, prefix, tuple(held))


def batches(pieces: Iterable[Piece], shapes: BatchShapes) -> Iterator[tuple[list[Row], RowArrays]]:
    """Batches that hold each piece once, in whatever order fills rows best.

    What does not fill a batch waits for further pieces, so that only the last batches have
    empty rows.
    """
    waiting: list[Piece] = []
    for piece in pieces:
        waiting.append(piece)
        if len(waiting) >= _WINDOW:
            full, waiting = _full_batches(_pack(waiting, shapes), shapes)
            yield from full
            # Pieces of a rare size must not fill the window and be packed again and again.
            if len(waiting) > _WINDOW // 2:
                yield from _last_batches(waiting, shapes)
                waiting = []
    full, waiting = _full_batches(_pack(waiting, shapes), shapes)
    yield from full
    yield from _last_batches(waiting, shapes)


def _full_batches(
    rows: Sequence[Row], shapes: BatchShapes
) -> tuple[list[tuple[list[Row], RowArrays]], list[Piece]]:
    """Full batches of rows of one shape, and the pieces of the rows left over."""
    by_shape: dict[RowShape, list[Row]] = {}
    for row in rows:
        by_shape.setdefault(row.shape, []).append(row)
    found, left = [], []
    for shape, alike in by_shape.items():
        count = shapes.rows_of(shape)
        whole = len(alike) - len(alike) % count
        for first in range(0, whole, count):
            batch = alike[first : first + count]
            found.append((batch, row_arrays(batch, count)))
        left += [piece for row in alike[whole:] for piece in row.pieces]
    return found, left


def _last_batches(
    pieces: Sequence[Piece], shapes: BatchShapes
) -> Iterator[tuple[list[Row], RowArrays]]:
    """Batches of the one shape in which the pieces cost least, empty rows included."""
    if not pieces:
        return
    choices = []
    for length in shapes.lengths:
        for share in SHARES:
            shape = shapes.row(length, share)
            if all(Row(shape).room(piece) >= 0 for piece in pieces):
                rows = _pack(pieces, shapes, shape)
                count = shapes.rows_of(shape)
                choices.append((-(-len(rows) // count) * count * shape.cost(), shape, rows))
    _, shape, rows = min(choices, key=lambda choice: choice[:2])
    count = shapes.rows_of(shape)
    for first in range(0, len(rows), count):
        batch = rows[first : first + count]
        yield batch, row_arrays(batch, count)


def _pack(pieces: Sequence[Piece], shapes: BatchShapes, shape: RowShape | None = None) -> list[Row]:
    """Best-fit decreasing, in rows of one shape or of that which suits each piece."""
    rows: list[Row] = []
    in_order = sorted(pieces, key=lambda p: -p.size)
    for number, piece in enumerate(in_order):
        fitting = [
            (room, i) for i, r in enumerate(rows[-_OPEN_ROWS:]) if (room := r.room(piece)) >= 0
        ]
        if fitting:
            row = rows[-_OPEN_ROWS:][min(fitting)[1]]
        else:
            row = Row(shape or _suitable(piece, len(in_order) - number, shapes))
            rows.append(row)
        row.add(piece)
    return rows


def _suitable(piece: Piece, left: int, shapes: BatchShapes) -> RowShape:
    """The row shape in which `left` pieces like this one cost least."""
    choices = []
    for length in shapes.lengths:
        for share in SHARES:
            shape = shapes.row(length, share)
            fitting = min(
                length // piece.size, shape.places // piece.places, shape.wanted // piece.wanted
            )
            if fitting:
                choices.append((shape.cost() / min(fitting, left), shape))
    return min(choices)[1]


def row_arrays(rows: Sequence[Row], count: int) -> RowArrays:
    """The arrays of rows of one shape, with empty rows up to `count`."""
    shape = rows[0].shape
    widths = [shape.length] * 4 + [shape.places] + [shape.wanted] * 2
    arrays = RowArrays._make(np.zeros((count, width), np.int32) for width in widths)
    places, slots, wanted = arrays[4:]
    for r, row in enumerate(rows):
        at = slot = pick = 0
        for segment, piece in enumerate(row.pieces, start=1):
            after = len(piece.prefix)
            shared, shared_slot = at, slot
            arrays.tokens[r, at : at + after] = piece.prefix
            arrays.positions[r, at : at + after] = np.arange(after)
            at += after
            places[r, slot] = at - 1
            slot += 1
            for option, ids in enumerate(piece.options, start=1):
                own = len(ids) - 1
                arrays.tokens[r, at : at + own] = ids[:-1]
                arrays.positions[r, at : at + own] = np.arange(after, after + own)
                arrays.option_ids[r, at : at + own] = option
                places[r, slot : slot + own] = np.arange(at, at + own)
                slots[r, pick] = shared_slot
                slots[r, pick + 1 : pick + 1 + own] = np.arange(slot, slot + own)
                wanted[r, pick : pick + 1 + own] = ids
                at, slot, pick = at + own, slot + own, pick + 1 + own
            arrays.segment_ids[r, shared:at] = segment
    return arrays
