"""Rows for evaluation out of row caches, which are made from a TFDS folder where they are missing."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from flan.catalog.dataset import Dataset
from flan.data.cache_plan import Request
from flan.data.prepare import ensure_prepared
from flan.data.row_cache import RowCache
from flan.evaluation.rows import Rows, RowSet


@dataclasses.dataclass(frozen=True, eq=False)
class CachedRows:
    """A row cache as a `RowSet`."""

    cache: RowCache

    @property
    def key(self) -> str:
        """The cache's key."""
        return self.cache.key

    def __len__(self) -> int:
        return len(self.cache)

    def load(self, places: Sequence[int]) -> Rows:
        """The rows at these places; a row's id is its number in the TFDS split."""
        ids = tuple(int(self.cache.row_ids[p]) for p in places)
        return Rows(ids, tuple(self.cache.fields(p) for p in places))


@dataclasses.dataclass(frozen=True)
class CachedRowStore:
    """A `RowStore` over a cache folder.

    Attributes:
      cache_dir: where row caches lie.
      data_dir: a TFDS folder to make missing ones from; None to use what is cached only.
      skip_missing: leave out sources that are not there, with a warning, instead of
        refusing to start.
    """

    cache_dir: Path
    data_dir: Path | None = None
    skip_missing: bool = False

    def open(
        self, datasets: Sequence[Dataset], splits: Sequence[str]
    ) -> dict[tuple[str, str, str], RowSet]:
        """(dataset, source, split) -> rows; raises what `ensure_prepared` raises."""
        request = Request(
            datasets=tuple(d.name for d in datasets),
            cache_dir=self.cache_dir,
            data_dir=self.data_dir,
            splits=tuple(dict.fromkeys(splits)),
            skip_missing=self.skip_missing,
        )
        prepared = ensure_prepared(request)
        for reason in prepared.missing.values():
            print(f"flan: left out: {reason}", file=sys.stderr)
        return {key: CachedRows(RowCache.open(path)) for key, path in prepared.rows.items()}
