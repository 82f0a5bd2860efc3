"""Rows for evaluation out of row caches, which are made from a TFDS folder where they are missing."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Dataset, Source
from flan.catalog.splits import SPLITS
from flan.data.cache_files import MANIFEST
from flan.data.cache_keys import cache_folder, code_fingerprint
from flan.data.row_cache import RowCache
from flan.data.rows import SourceReader, check_data_dir, prepare_rows
from flan.evaluation.rows import Rows, RowSet
from flan.progress import progress_bar


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
        """(dataset, source, split) -> rows; see `RowStore.open`."""
        if self.data_dir is not None:
            check_data_dir(self.data_dir)
        found: dict[tuple[str, str, str], RowSet] = {}
        problems: list[str] = []
        readers: list[tuple[Dataset, Source, SourceReader]] = []
        for dataset in datasets:
            for source in dataset.sources:
                try:
                    if self.data_dir is not None:
                        readers.append(
                            (dataset, source, SourceReader(self.data_dir, dataset, source))
                        )
                    else:
                        found |= self._cached(dataset, source, splits)
                except (ValueError, FileNotFoundError) as error:
                    problems.append(str(error))
        if problems and (not self.skip_missing or not (readers or found)):
            listed = "\n  ".join(problems)
            advice = "" if self.skip_missing else "\n--skip_missing evaluates the others"
            raise FileNotFoundError(f"cannot evaluate all that was asked for:\n  {listed}{advice}")
        for problem in problems:
            print(f"flan: left out: {problem}", file=sys.stderr)
        return found | self._prepared(readers, splits)

    def _prepared(
        self, readers: Sequence[tuple[Dataset, Source, SourceReader]], splits: Sequence[str]
    ) -> dict[tuple[str, str, str], RowSet]:
        wanted = [
            (dataset, source, split, reader, piece)
            for dataset, source, reader in readers
            for split in dict.fromkeys(splits)
            if (piece := reader.plan[split]) is not None
        ]
        missing = [w for w in wanted if not self._is_cached(w[3], w[2])]
        rows = sum(len(piece) for *_, piece in missing)
        with progress_bar(rows, "read rows", unit="row", disable=not missing) as bar:
            for _, _, split, reader, _ in missing:
                prepare_rows(reader, split, self.cache_dir, bar.update)
        return {
            (dataset.name, source.name, split): CachedRows(
                RowCache.open(prepare_rows(reader, split, self.cache_dir))
            )
            for dataset, source, split, reader, _ in wanted
        }

    def _is_cached(self, reader: SourceReader, split: str) -> bool:
        folder = cache_folder(self.cache_dir, "rows", reader.identity(split))
        return (folder / MANIFEST).is_file()

    def _cached(
        self, dataset: Dataset, source: Source, splits: Sequence[str]
    ) -> dict[tuple[str, str, str], RowSet]:
        """What is cached of a source for today's `to_fields`."""
        folder = self.cache_dir / "rows" / dataset.name
        current = {
            "tfds": source.tfds_name,
            "to_fields_version": dataset.version,
            "to_fields": code_fingerprint(dataset.to_fields),
        }
        found: dict[tuple[str, str, str], RowSet] = {}
        any_split = False
        for split in SPLITS:
            caches = [
                cache
                for path in sorted(folder.glob(f"{source.name}-{split}-*/{MANIFEST}"))
                if current.items()
                <= (cache := RowCache.open(path.parent)).manifest["identity"].items()
            ]
            any_split |= bool(caches)
            if len(caches) > 1 and split in splits:
                raise ValueError(
                    f"{dataset.name}: {len(caches)} caches of {source.name} {split} in {folder}, of "
                    "different data; give --data_dir to say which data is meant"
                )
            if caches and split in splits:
                found[(dataset.name, source.name, split)] = CachedRows(caches[0])
        if not any_split:
            raise FileNotFoundError(
                f"{dataset.name}: no rows of {source.tfds_name} are cached in {self.cache_dir}; "
                "give --data_dir with a folder of TFDS datasets, or run `flan prepare`"
            )
        return found


def _agrees(cache: RowCache, wanted: Mapping[str, Any]) -> bool:
    identity = cache.manifest.get("identity")
    return isinstance(identity, dict) and wanted.items() <= identity.items()
