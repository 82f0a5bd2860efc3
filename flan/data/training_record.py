"""What a checkpoint was trained on: `training_data.json` and `training_rows.npz` in its folder.

The record names datasets, rows and templates of every run that led to the checkpoint, from
pretraining on; it also stands in each checkpoint's metadata. The rows' prints (see
`row_prints`) lie beside it, sorted, so that any row can be looked up. Rows that a run may
have drawn count as read, whether or not it came that far.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flan.data import atomic
from flan.data.row_prints import VERSION, Prints

FORMAT = "flan-training-data-1"
RECORD_FILE, ROWS_FILE = "training_data.json", "training_rows.npz"


@dataclasses.dataclass(frozen=True)
class ReadSource:
    """Rows that a run read of one source.

    Attributes:
      source: its name within the dataset.
      tfds: builder, config and version, `super_glue/rte:1.0.2`.
      slice: the TFDS rows that its train split is, `train[0:2490]`.
      rows: how many of them were read, filters passed.
      first, last: least and greatest of their numbers in the TFDS split.
      row_ids: SHA-256 in hex of all their numbers, as int64 in order.
      data: names the content of the TFDS folder.
    """

    source: str
    tfds: str
    slice: str
    rows: int
    first: int
    last: int
    row_ids: str
    data: str


@dataclasses.dataclass(frozen=True)
class ReadDataset:
    """A dataset that a run read.

    Attributes:
      dataset, cluster: its names.
      templates: ids of the templates that phrased its rows; none where rows went without.
      sources: what was read of each.
    """

    dataset: str
    cluster: str
    templates: tuple[str, ...]
    sources: tuple[ReadSource, ...]

    @property
    def rows(self) -> int:
        """Rows read of all sources."""
        return sum(source.rows for source in self.sources)


@dataclasses.dataclass(frozen=True)
class ReadRun:
    """One training run.

    Attributes:
      data: `instructions`, `text` (raw text, answers left out) or `seqio` (a stream).
      mixture: what it was asked for.
      rendering: how examples were phrased.
      steps: gradient steps that it was to take.
      fingerprint: of its batches.
      datasets: what it read.
      others: names of tasks that are not ours, of which nothing is known.
    """

    data: str
    mixture: str
    rendering: str
    steps: int
    fingerprint: str
    datasets: tuple[ReadDataset, ...]
    others: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainingRecord:
    """All training that led to a checkpoint.

    Attributes:
      runs: the oldest first.
      unknown: in words, what of its training nobody recorded; empty where all is known.
      rows_sha256: of `training_rows.npz`.
    """

    runs: tuple[ReadRun, ...]
    unknown: tuple[str, ...] = ()
    rows_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {"format": FORMAT, **json.loads(json.dumps(dataclasses.asdict(self)))}

    @classmethod
    def from_json(cls, value: Any) -> TrainingRecord:
        """The record that `to_json` gave; ValueError for anything else."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"not a record of training data of format {FORMAT!r}")
        try:
            runs = [
                ReadRun(**{**run, "datasets": _datasets(run), "others": _texts(run, "others")})
                for run in _objects(value, "runs")
            ]
        except TypeError as error:
            raise ValueError(str(error)) from None
        record = cls(tuple(runs), _texts(value, "unknown"), value.get("rows_sha256", ""))
        for part in (record, *runs):
            _check_types(part)
        return record


class TrainingRows(NamedTuple):
    """Prints of all rows read, sorted, each once: uint64 `[n]` and `[m]`."""

    rows: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[Prints | TrainingRows]) -> TrainingRows:
        """The union of prints; the 0 of what has no print is left out."""
        empty = np.zeros(0, np.uint64)
        rows = np.unique(np.concatenate([empty, *(p.rows for p in parts)]))
        near = np.unique(np.concatenate([empty, *(p.near.reshape(-1) for p in parts)]))
        return cls(rows[rows > 0], near[near > 0])

    def look_up(self, prints: Prints) -> tuple[np.ndarray, np.ndarray]:
        """Which rows are among those read, and which others nearly are: bool `[n]` each."""
        exact = _among(prints.rows, self.rows)
        near = _among(prints.near.reshape(-1), self.near).reshape(prints.near.shape)
        return exact, near.any(axis=1) & ~exact


def write_record(model_dir: Path, record: TrainingRecord, rows: TrainingRows) -> TrainingRecord:
    """Writes both files, the record last; returns it with the rows' checksum."""
    content = io.BytesIO()
    np.savez(content, rows=rows.rows, near=rows.near, version=np.array(VERSION))
    data = content.getvalue()
    record = dataclasses.replace(record, rows_sha256=hashlib.sha256(data).hexdigest())
    model_dir.mkdir(parents=True, exist_ok=True)
    atomic.write_file(model_dir / ROWS_FILE, data)
    atomic.write_json(model_dir / RECORD_FILE, record.to_json())
    return record


def read_record(model_dir: Path) -> TrainingRecord | None:
    """The record of a model folder; None where it has none, ValueError for a damaged one."""
    path = model_dir / RECORD_FILE
    if not path.is_file():
        return None
    try:
        return TrainingRecord.from_json(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_rows(model_dir: Path, record: TrainingRecord) -> TrainingRows:
    """The rows of a record.

    Raises:
      FileNotFoundError: they are not in the folder.
      ValueError: they are others, or damaged.
    """
    path = model_dir / ROWS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: copy it with the checkpoint")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != record.rows_sha256:
        raise ValueError(f"{path} is not the file that {RECORD_FILE} describes")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            rows = TrainingRows(stored["rows"], stored["near"])
            version = int(stored["version"]) if "version" in stored else 2
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: {error}") from error
    if any(a.dtype != np.uint64 or a.ndim != 1 for a in rows):
        raise ValueError(f"{path}: expected two lists of 64-bit numbers")
    if version != VERSION:
        raise ValueError(
            f"{path} holds prints of version {version}, which are not those of this one "
            f"({VERSION}): rows that are not plain ASCII could be missed"
        )
    return rows


def _among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    if not len(known):
        return np.zeros(values.shape, bool)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return (known[places] == values) & (values > 0)


def _datasets(run: Mapping[str, Any]) -> tuple[ReadDataset, ...]:
    found = []
    for entry in _objects(run, "datasets"):
        sources = tuple(ReadSource(**source) for source in _objects(entry, "sources"))
        templates = _texts(entry, "templates")
        dataset = ReadDataset(**{**entry, "templates": templates, "sources": sources})
        for part in (dataset, *sources):
            _check_types(part)
        found.append(dataset)
    return tuple(found)


def _check_types(part: Any) -> None:
    """ValueError where a plain entry is not of its field's type."""
    kinds = {"str": str, "int": int}
    for field in dataclasses.fields(part):
        kind, value = kinds.get(str(field.type)), getattr(part, field.name)
        if kind is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{field.name} must be of type {field.type}, got {value!r}")


def _objects(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(v, dict) for v in found):
        raise ValueError(f"{name} must be a list of objects")
    return found


def _texts(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(v, str) for v in found):
        raise ValueError(f"{name} must be a list of texts")
    return tuple(found)
