"""Where evaluation gets its rows from, and which of them a limit takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from flan.catalog.dataset import Dataset, Fields


@dataclasses.dataclass(frozen=True)
class Rows:
    """Examples of one split of one source.

    Attributes:
      ids: each row's id in its split.
      examples: their fields.
    """

    ids: tuple[int, ...]
    examples: tuple[Fields, ...]


class RowSet(Protocol):
    """All rows of one split of one source, read when asked for."""

    @property
    def key(self) -> str:
        """Says which rows these are: another key, other rows."""

    def __len__(self) -> int:
        """How many there are."""

    def load(self, places: Sequence[int]) -> Rows:
        """The rows at these places, ascending."""


class RowStore(Protocol):
    """The rows of many datasets."""

    def open(
        self, datasets: Sequence[Dataset], splits: Sequence[str]
    ) -> Mapping[tuple[str, str, str], RowSet]:
        """(dataset, source, split) -> rows, for those that exist.

        A source that has no such split by its nature is left out. Raises ValueError or
        FileNotFoundError, before any work, for a dataset that is not there.
        """


@dataclasses.dataclass(frozen=True)
class ListedRows:
    """A `RowSet` in memory."""

    key: str
    examples: Sequence[Fields]

    def __len__(self) -> int:
        return len(self.examples)

    def load(self, places: Sequence[int]) -> Rows:
        """The rows at these places; a row's id is its place."""
        return Rows(tuple(places), tuple(self.examples[p] for p in places))


def spread(count: int, limit: int | None) -> range | list[int]:
    """`limit` places of `count`, evenly spaced, so that a sorted split is sampled fairly.

    All places where `limit` is None or not smaller; ValueError for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"a limit of {limit} rows leaves nothing to evaluate; give 1 or more")
    if limit is None or limit >= count:
        return range(count)
    return [place * count // limit for place in range(limit)]
