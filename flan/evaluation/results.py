"""Results on disk: one JSON for each cell, its predictions beside it.

    <out>/<checkpoint>/checkpoint.json                                     which weights
    <out>/<checkpoint>/<mode>/<dataset>/<source>/<split>-<template>.json   a cell
    <out>/<checkpoint>/<mode>/<dataset>/<source>/<split>-<template>.jsonl  its predictions
    <out>/_rows/                                        see `flan.evaluation.row_texts`
    <out>/summary.json                                   see `flan.evaluation.summary`

A cell is a checkpoint on one split of one source of a dataset through one template. Its
JSON is written last, so where it is, the predictions are too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.data import atomic
from flan.evaluation.training import check_entry

FORMAT = "flan-evaluation-2"
CHECKPOINT_FILE = "checkpoint.json"
SUMMARY_FILE = "summary.json"
_LARGEST = 2**63  # of a metric or a count; also what no infinity and no NaN is below
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def safe_name(kind: str, name: str) -> str:
    """The name if it can be a file's name on any system; ValueError otherwise."""
    if name in (CHECKPOINT_FILE, SUMMARY_FILE):
        raise ValueError(f"{kind} {name!r} is the name of a file of results: give another")
    if not _SAFE.fullmatch(name):
        raise ValueError(
            f"{kind} {name!r} cannot name a file: use letters, digits and . _ + -, starting "
            "with a letter or digit, 100 at most"
        )
    return name


@dataclasses.dataclass(frozen=True, order=True)
class CellId:
    """What a cell measures; ValueError for a part that cannot be in a path."""

    checkpoint: str
    mode: str
    dataset: str
    source: str
    split: str
    template: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str):
                raise ValueError(f"{field.name} must be text, got {value!r}")
            safe_name(field.name, value)

    def path(self, out_dir: Path) -> Path:
        """Where the cell's JSON lies."""
        folder = out_dir / self.checkpoint / self.mode / self.dataset / self.source
        return folder / f"{self.split}-{self.template}.json"


@dataclasses.dataclass(frozen=True)
class Cell:
    """The result of one cell.

    Attributes:
      id: what was measured.
      key: hash of all that decides the result; another key means another result.
      cluster: the dataset's.
      task: `rank` (options scored) or `generate`.
      main_metric: the key of `metrics` that stands for the dataset in averages.
      metrics: scores on a scale of 0 to 100; for `rank` by the score named in `details`.
      metrics_by_score: for `rank` the same metrics by each kind of score.
      replicates: the main metric on samples of the rows, see `flan.evaluation.resampling`.
      counts: rows, ties, cut prompts and the like.
      details: what `key` was made of, versions, seconds.
    """

    id: CellId
    key: str
    cluster: str
    task: str
    main_metric: str
    metrics: Mapping[str, float]
    metrics_by_score: Mapping[str, Mapping[str, float]]
    replicates: tuple[float, ...]
    counts: Mapping[str, int]
    details: Mapping[str, Any]

    @property
    def main(self) -> float:
        """The main metric's value."""
        return self.metrics[self.main_metric]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the file holds them."""
        plain = dataclasses.asdict(self)
        return {"format": FORMAT, **plain, "replicates": list(self.replicates)}

    @classmethod
    def from_json(cls, value: Any) -> Cell:
        """The cell of `to_json`; ValueError for anything else."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"not a result of format {FORMAT!r}")
        if value.keys() != names | {"format"}:
            raise ValueError(f"has entries {sorted(value)}, expected {sorted(names)}")
        content = {name: value[name] for name in names}
        if not isinstance(content["id"], dict):
            raise ValueError(f"id must be an object, got {content['id']!r}")
        try:
            content["id"] = CellId(**content["id"])
        except TypeError as error:
            raise ValueError(f"id: {error}") from error
        for name in ("key", "cluster", "task", "main_metric"):
            if not isinstance(content[name], str):
                raise ValueError(f"{name} must be text, got {content[name]!r}")
        for name in ("metrics", "metrics_by_score", "counts", "details"):
            if not isinstance(content[name], dict):
                raise ValueError(f"{name} must be an object, got {content[name]!r}")
        by_score = content["metrics_by_score"].values()
        if not all(_numbers(m) for m in (content["metrics"], content["counts"], *by_score)):
            raise ValueError("metrics and counts must be finite numbers")
        replicates = content["replicates"]
        if not isinstance(replicates, list) or not _numbers(dict(enumerate(replicates))):
            raise ValueError("replicates must be a list of finite numbers")
        content["replicates"] = tuple(replicates)
        if content["main_metric"] not in content["metrics"]:
            raise ValueError(f"lacks its main metric {content['main_metric']!r}")
        return cls(**content)


def _numbers(values: Any) -> bool:
    return isinstance(values, dict) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < _LARGEST
        for v in values.values()
    )


def content_hash(value: Any) -> str:
    """SHA-256 in hex of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_cell(out_dir: Path, cell: Cell, predictions: Iterable[Mapping[str, Any]]) -> Path:
    """Writes predictions, then the cell; each file whole or not at all. Returns the cell's path."""
    path = cell.id.path(out_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(p, ensure_ascii=False, allow_nan=False) + "\n" for p in predictions]
    # Killed here, the cell is not there: predictions never lie beside another result.
    path.unlink(missing_ok=True)
    atomic.write_file(path.with_suffix(".jsonl"), "".join(lines).encode())
    atomic.write_json(path, cell.to_json())
    return path


def finished_cell(out_dir: Path, cell_id: CellId, key: str) -> Cell | None:
    """The stored cell if it has that key; None where it is missing, damaged or outdated."""
    path = cell_id.path(out_dir)
    try:
        cell = read_cell(path)
    except (FileNotFoundError, ValueError):
        return None
    if not path.with_suffix(".jsonl").is_file():
        return None
    return cell if cell.key == key and cell.id == cell_id else None


def read_cell(path: Path) -> Cell:
    """One cell; ValueError naming the file if it is none."""
    try:
        return Cell.from_json(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """The predictions of the cell at `path`, one object for each row."""
    # Not splitlines(): texts may hold other line separators, such as U+2028.
    lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def write_checkpoint(out_dir: Path, label: str, entry: Mapping[str, Any]) -> None:
    """Notes which weights a label stands for; `entry` has their `fingerprint`."""
    folder = out_dir / safe_name("checkpoint name", label)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_json(folder / CHECKPOINT_FILE, {"format": FORMAT, "label": label, **entry})


def read_checkpoint(out_dir: Path, label: str) -> dict[str, Any]:
    """What `write_checkpoint` noted of a label; nothing where it did not, or it is damaged."""
    try:
        entry = json.loads((out_dir / label / CHECKPOINT_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


OnDamaged = Callable[[ValueError], Any]


def refuse_damaged(error: ValueError) -> None:
    """Raises what is wrong with a file."""
    raise error


def read_checkpoints(
    out_dir: Path, on_damaged: OnDamaged = refuse_damaged
) -> dict[str, dict[str, Any]]:
    """Label -> what `write_checkpoint` noted.

    `on_damaged` gets a ValueError naming a damaged file, and raises it, or the file is left out.
    """
    found = {}
    for path in sorted(out_dir.glob(f"*/{CHECKPOINT_FILE}")):
        try:
            entry = json.loads(path.read_bytes())
            if not isinstance(entry, dict) or entry.get("format") != FORMAT:
                raise ValueError(f"not a checkpoint entry of format {FORMAT!r}")
            if not isinstance(entry.get("fingerprint"), str):
                raise ValueError(f"fingerprint must be text, got {entry.get('fingerprint')!r}")
            check_entry(entry.get("training"))
        except (ValueError, RecursionError) as error:
            on_damaged(ValueError(f"{path}: {error}"))
            continue
        found[path.parent.name] = entry
    return found


def load_cells(
    out_dir: Path,
    labels: Sequence[str] | None = None,
    on_damaged: OnDamaged = refuse_damaged,
) -> list[Cell]:
    """All cells of a results folder, sorted by what they measure.

    Cells that other weights left under a label since re-evaluated are skipped.

    Args:
      out_dir: the folder.
      labels: only these checkpoints.
      on_damaged: gets a ValueError naming a damaged file, or one that lies where another cell
        belongs, and raises it, or the file is left out.

    Raises:
      FileNotFoundError: no such folder.
    """
    if not out_dir.is_dir():
        raise FileNotFoundError(f"no results at {out_dir}: `flan eval --out {out_dir}` writes them")
    cells = []
    for label, entry in read_checkpoints(out_dir, on_damaged).items():
        if labels is not None and label not in labels:
            continue
        for path in (out_dir / label).glob("*/*/*/*.json"):
            if path.name.startswith("."):
                continue
            try:
                cell = read_cell(path)
                if cell.id.path(out_dir) != path:
                    raise ValueError(f"{path}: holds the result of {cell.id}; was it moved?")
            except ValueError as error:
                on_damaged(error)
                continue
            if cell.details.get("checkpoint") == entry.get("fingerprint"):
                cells.append(cell)
    return sorted(cells, key=lambda c: c.id)
