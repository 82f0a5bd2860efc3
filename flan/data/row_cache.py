"""The rows of a source's split as `Fields`, on disk: written once, read at any place.

A folder with
  rows.jsonl    one kept row a line: its values, answer, options, label and references
  offsets.npy   int64 [kept + 1], where each line begins, and the end of the last
  row_ids.npy   int64 [kept], each row's number within its TFDS split
  manifest.json what it is, how many rows were found, kept and dropped, and checksums
No TensorFlow here. Serves evaluation, few-shot exemplars, tokenization and looking at data.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from flan.catalog.dataset import Fields
from flan.data import atomic
from flan.data.cache_files import (
    MANIFEST,
    Kind,
    check_files,
    file_checksums,
    file_sizes,
    is_complete,
    read_array,
    read_manifest,
)
from flan.data.cache_keys import Identity, key_of

KIND = Kind("flan-rows-2", ("found", "kept", "dropped", "available"))
_ROWS, _OFFSETS, _ROW_IDS = "rows.jsonl", "offsets.npy", "row_ids.npy"
_encode = json.JSONEncoder(ensure_ascii=False).encode


class RowCache(Sequence[Fields]):
    """Reads a row cache. Rows are parsed when they are asked for.

    Attributes:
      path: its folder.
      manifest: `manifest.json`.
      row_ids: int64 `[kept]`, each row's number within its TFDS split.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], data: bytes | mmap.mmap):
        self.path = path
        self.manifest = manifest
        self.row_ids = read_array(path / _ROW_IDS, np.int64)
        self._offsets = read_array(path / _OFFSETS, np.int64)
        self._data = data
        steps = np.diff(self._offsets)
        if (
            len(self._offsets) != len(self.row_ids) + 1
            or len(self.row_ids) != manifest.get("kept")
            or self._offsets[0] != 0
            or self._offsets[-1] != len(data)
            or (steps < 1).any()
        ):
            raise ValueError(f"{path}: its index does not fit its rows; delete it, prepare again")

    @classmethod
    def open(cls, path: str | Path) -> RowCache:
        """Opens a cache.

        Raises:
          FileNotFoundError: no complete cache at `path`.
          ValueError: another kind of folder, a truncated, changed or foreign file.
        """
        path = Path(path)
        manifest = read_manifest(path, KIND)
        check_files(path, manifest, (_ROWS, _OFFSETS, _ROW_IDS))
        data: bytes | mmap.mmap = b""
        if (path / _ROWS).stat().st_size:
            with (path / _ROWS).open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(path, manifest, data)

    @property
    def key(self) -> str:
        """Names the content."""
        return str(self.manifest["key"])

    def __len__(self) -> int:
        return len(self.row_ids)

    def fields(self, index: int) -> Fields:
        """The row at a place; IndexError outside, ValueError where the line is damaged."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        line = self._data[self._offsets[index] : self._offsets[index + 1]]
        try:
            return fields_from_json(line)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self.path / _ROWS}: line {index} is damaged ({error!r}); delete the folder, "
                "prepare again"
            ) from error

    @overload
    def __getitem__(self, index: int) -> Fields: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fields]: ...
    def __getitem__(self, index: int | slice) -> Fields | list[Fields]:
        if not isinstance(index, slice):
            return self.fields(index)
        places = range(*index.indices(len(self)))
        if places.step == 1 and (together := self._parse_together(places)) is not None:
            return together
        return [self.fields(i) for i in places]

    def _parse_together(self, places: range) -> list[Fields] | None:
        """Rows one after the other, twice as fast as one by one; None where a line is damaged."""
        lines = self._data[self._offsets[places.start] : self._offsets[places.stop]]
        try:
            rows = json.loads(b"[%b]" % lines.rstrip(b"\n").replace(b"\n", b","))
            return [_fields(row) for row in rows] if len(rows) == len(places) else None
        except (ValueError, TypeError, KeyError):
            return None

    def __iter__(self) -> Iterator[Fields]:
        return map(self.fields, range(len(self)))


def write_row_cache(
    path: Path,
    identity: Identity,
    rows: Iterable[tuple[int, Fields | None]],
    available: int | None = None,
) -> dict[str, Any]:
    """Writes a row cache; a finished one that is at `path` already is left as it is.

    Args:
      path: its folder.
      identity: what it is (`cache_keys.rows_identity`).
      rows: row number and fields of each row found; None for one that filters drop.
      available: how many the split would have without a cap; by default no more than these.

    Returns:
      The manifest. An error, a full disk among them, leaves nothing at `path`.
    """
    found = 0
    row_ids: list[int] = []
    offsets = [0]
    with atomic.new_folder(path, is_whole=lambda p: is_complete(p, KIND)) as folder:
        with (folder / _ROWS).open("wb") as file:
            for row_id, fields in rows:
                found += 1
                if fields is not None:
                    offsets.append(offsets[-1] + file.write(fields_to_json(fields) + b"\n"))
                    row_ids.append(row_id)
        np.save(folder / _OFFSETS, np.array(offsets, np.int64))
        np.save(folder / _ROW_IDS, np.array(row_ids, np.int64))
        manifest = {
            "format": KIND.format,
            "key": key_of(identity),
            "identity": identity,
            "found": found,
            "kept": len(row_ids),
            "dropped": found - len(row_ids),
            "available": found if available is None else available,
            "files": file_sizes(folder),
            "sha256": file_checksums(folder),
        }
        atomic.write_json(folder / MANIFEST, manifest, sync=True)
    return manifest


def fields_to_json(fields: Fields) -> bytes:
    """Fields as one line of JSON, which `fields_from_json` reads back."""
    row = {
        "values": dict(fields.values),
        "answer": fields.answer,
        "options": fields.options,
        "label": fields.label,
        "references": fields.references,
    }
    return _encode(row).encode()


def fields_from_json(line: bytes) -> Fields:
    """Fields of `fields_to_json`; ValueError, TypeError or KeyError for anything else."""
    return _fields(json.loads(line))


def _fields(row: Any) -> Fields:
    values, options, references = row["values"], row["options"], row["references"]
    if (
        not (type(values) is dict and type(options) is list and type(references) is list)
        or {*map(type, values.values()), *map(type, options), *map(type, references)} - {str}
        or type(row["answer"]) is not str
        or type(row["label"]) not in (int, type(None))
    ):
        raise TypeError("a value is of the wrong type")
    return Fields(values, row["answer"], tuple(options), row["label"], tuple(references))
