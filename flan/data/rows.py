"""Reads TFDS rows: the one place of the project that does.

Nothing here needs TensorFlow: the metadata are JSON, the rows are read by `tfrecord` and
decoded by `row_decoder`. On MNLI-like rows and two busy cores that gives 50,000 to 70,000
rows a second, `tfds.as_numpy` 2,000 (in batches 11,000), and nothing has to start first.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flan.catalog.dataset import TRAIN_CAP, Dataset, Fields, Row, Source
from flan.catalog.splits import Slice, plan_source
from flan.data.cache_files import is_complete
from flan.data.cache_keys import Identity, cache_folder, rows_identity
from flan.data.doctor import diagnose_source
from flan.data.row_cache import KIND, write_row_cache
from flan.data.row_decoder import Decode, row_decoder
from flan.data.tfds_folder import INFO_FILE, PreparedSource, read_source
from flan.data.tfrecord import read_records

_USABLE = ("ready", "too small")


class UnusableSource(ValueError):
    """A source is not in the data folder, or not as flan expects it; says what to do."""


class Part(NamedTuple):
    """Records `start` up to `stop` of a file.

    Attributes:
      row_id: the first one's number in its split.
      rows: how many the whole file should have.
    """

    path: Path
    start: int
    stop: int
    row_id: int
    rows: int


class SourceReader:
    """A dataset's source in a data folder.

    Args:
      data_dir: the TFDS folder.
      dataset, source: which one.
      cap: rows of the train split at most.

    Attributes:
      prepared: what is on disk.
      plan: split -> its TFDS slice, or None for a split that the source cannot have.

    Raises:
      FileNotFoundError: no such data folder.
      UnusableSource: the source is missing there, of another version or damaged.
    """

    def __init__(
        self, data_dir: str | Path, dataset: Dataset, source: Source, cap: int = TRAIN_CAP
    ):
        data_dir = check_data_dir(data_dir)
        found = diagnose_source(data_dir, dataset, source)
        if found.state not in _USABLE:
            raise UnusableSource(
                f"{dataset.name} needs {source.tfds_name}, which is not usable in {data_dir} "
                f"({found.state}): {found.detail}. To get it: {found.remedy}"
            )
        prepared = read_source(data_dir, source)
        assert prepared is not None
        self.dataset = dataset
        self.source = source
        self.prepared: PreparedSource = prepared
        self.plan = plan_source(source, prepared.sizes, dataset.dev_size, cap)

    @functools.cached_property
    def decode(self) -> Decode:
        """Serialized example -> row."""
        return row_decoder(self.prepared.path)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Names the content of the TFDS folder, as far as the source reads it."""
        used = (self.source.train, self.source.validation, self.source.test)
        return self.prepared.fingerprint(split for split in used if split)

    def available(self, split: str) -> int:
        """Rows that a split would have without a cap."""
        uncapped = plan_source(self.source, self.prepared.sizes, self.dataset.dev_size, sys.maxsize)
        piece = uncapped[split]
        return 0 if piece is None else len(piece)

    def identity(self, split: str) -> Identity:
        """What decides the fields of a split; KeyError for a split that is not planned."""
        piece = self.plan[split]
        assert piece is not None
        return rows_identity(self.dataset, self.source, split, piece, self.fingerprint)

    def parts(self, split: str) -> list[Part]:
        """Where the rows of a split lie, in order; [] for a split that the source lacks."""
        piece = self.plan[split]
        return [] if piece is None else _parts(self.prepared, piece)

    def rows(self, split: str) -> Iterator[tuple[int, Row]]:
        """Row number within the TFDS split, and row, of each row of a split.

        Raises ValueError for damaged files, for fewer rows than TFDS promised, and for more
        where a file is read to its end.
        """
        for part in self.parts(split):
            yield from self.part_rows(part)

    def part_rows(self, part: Part) -> Iterator[tuple[int, Row]]:
        """Row number and row of each row of a part; raises what `rows` raises."""
        end = part.row_id + part.stop - part.start
        row_id = part.row_id
        # A whole file is read to its end, wherever TFDS says that it is.
        stop = None if part.stop == part.rows else part.stop
        for record in read_records(part.path, part.start, stop):
            if row_id == end:
                raise self._miscounted(part, f"more than {part.rows} records")
            yield row_id, self._decode(record, row_id, part)
            row_id += 1
        if row_id != end:
            raise self._miscounted(part, f"{part.start + row_id - part.row_id} records")

    def fields(self, split: str) -> Iterator[tuple[int, Fields | None]]:
        """Row number and fields of each row of a split; None where `to_fields` drops it.

        Raises ValueError naming the row that `to_fields` fails on.
        """
        for row_id, row in self.rows(split):
            yield row_id, self.to_fields(split, row_id, row)

    def to_fields(self, split: str, row_id: int, row: Row) -> Fields | None:
        """The fields of a row, checked; ValueError that names the row for whatever goes wrong."""
        try:
            fields = self.dataset.to_fields(row)
            if fields is not None and fields.values.keys() != set(self.dataset.fields):
                raise ValueError(
                    f"it gave values {sorted(fields.values)}, the dataset declares "
                    f"{sorted(self.dataset.fields)}"
                )
        except Exception as error:
            shown = repr(row)
            raise ValueError(
                f"{self.dataset.name}: to_fields fails on row {row_id} of {self.source.tfds_name} "
                f"({self.source.name}, {split}): {error!r}; the row is {shown[:400]}"
                f"{'...' * (len(shown) > 400)}"
            ) from error
        return fields

    def _miscounted(self, part: Part, found: str) -> ValueError:
        return ValueError(
            f"{part.path} has {found}, where {INFO_FILE} promises {part.rows}: copy or prepare "
            f"{self.source.tfds} again"
        )

    def _decode(self, record: bytes, row_id: int, part: Part) -> Any:
        try:
            return self.decode(record)
        except ValueError as error:
            raise ValueError(f"{part.path}: row {row_id}: {error}") from error


def check_data_dir(data_dir: str | Path) -> Path:
    """The folder; FileNotFoundError where there is none."""
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no data folder at {folder}: give the one that TFDS wrote to (--data_dir), or make "
            "one with `flan demo`"
        )
    return folder


def prepare_rows(
    reader: SourceReader,
    split: str,
    cache_dir: Path,
    progress: Callable[[int], object] = lambda rows: None,
) -> Path:
    """Writes the row cache of a source's split, unless it is there; returns its folder.

    `progress` is called with the number of rows read since its last call.
    """
    identity = reader.identity(split)
    path = cache_folder(cache_dir, "rows", identity)
    if not is_complete(path, KIND):
        rows = _reported(reader.fields(split), progress)
        write_row_cache(path, identity, rows, reader.available(split))
    return path


def _reported(
    rows: Iterator[tuple[int, Fields | None]], progress: Callable[[int], object], every: int = 500
) -> Iterator[tuple[int, Fields | None]]:
    count = 0
    for row in rows:
        yield row
        count += 1
        if count == every:
            progress(count)
            count = 0
    progress(count)


def _parts(prepared: PreparedSource, piece: Slice) -> list[Part]:
    parts, first = [], 0
    for file, rows in prepared.shards[piece.split]:
        start, stop = max(piece.start - first, 0), min(piece.stop - first, rows)
        if start < stop:
            parts.append(Part(prepared.path / file, start, stop, first + start, rows))
        first += rows
    assert sum(p.stop - p.start for p in parts) == len(piece)
    return parts
