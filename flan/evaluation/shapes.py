"""The few shapes that rank classification is compiled for."""

from __future__ import annotations

import dataclasses

# A row of L places computes logits at L / 8, L / 2 or L of them.
SHARES = (8, 2, 1)
# Tokens to pick out of the logits of a place, on average: options share the place that
# predicts their first tokens.
WANTED_PER_PLACE = 2
# Row length at which attention costs as much as the rest of a small model.
_ATTENTION_LENGTH = 2048
_LOGITS_COST = 0.25  # of a place, beside everything else at it


@dataclasses.dataclass(frozen=True, order=True)
class RowShape:
    """A row's length, the places that get logits, and the tokens picked out of them."""

    length: int
    places: int
    wanted: int

    def cost(self) -> float:
        """Work of such a row, in places of a short row."""
        attention = self.length / _ATTENTION_LENGTH
        return self.length * (1 + attention) + self.places * _LOGITS_COST


@dataclasses.dataclass(frozen=True)
class BatchShapes:
    """The fixed set of shapes that requests are packed into.

    Attributes:
      row_length: of the longest rows; no option can be scored that does not fit into one
        together with its context.
      batch_rows: rows of that length in a batch. Shorter rows come in larger numbers, so
        that a batch always reads about `batch_rows * row_length` tokens.
      shortest: length of the shortest rows; lengths double up to `row_length`.
      multiple: of which numbers of rows are multiples: the devices they are split over.
    """

    row_length: int = 1280
    batch_rows: int = 8
    shortest: int = 128
    multiple: int = 1

    def __post_init__(self) -> None:
        if min(self.row_length, self.batch_rows, self.shortest, self.multiple) < 1:
            raise ValueError(f"batch shapes must be positive, got {self}")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Row lengths, ascending."""
        found, length = [], self.shortest
        while length < self.row_length:
            found.append(length)
            length *= 2
        return (*found, self.row_length)

    def row(self, length: int, share: int) -> RowShape:
        """The shape of rows of one of `lengths` and one of `SHARES`."""
        places = max(length // share, 1)
        return RowShape(length, places, WANTED_PER_PLACE * places)

    def rows_of(self, shape: RowShape) -> int:
        """B, rows of that shape in a batch."""
        rows = self.batch_rows * self.row_length // shape.length
        return max(rows // self.multiple, 1) * self.multiple
