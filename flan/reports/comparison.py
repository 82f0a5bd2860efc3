"""Lines up the summaries of several checkpoints, dataset by dataset."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.catalog.clusters import CLUSTERS
from flan.evaluation.results import load_cells, read_checkpoints
from flan.evaluation.summary import SPLITS, SUMMARY_FILE, summarize
from flan.reports.summary_check import check_summary
from flan.suggest import unknown_name

BASE = "base"  # a checkpoint of this name comes first

Datasets = Mapping[str, Mapping[str, Any]]  # dataset -> its entry in a summary


@dataclasses.dataclass(frozen=True)
class Column:
    """A checkpoint in a mode: `instructions`, or `baseline` (prompts for untuned models).

    Attributes:
      unknown: in words, what is not known of its training.
    """

    label: str
    mode: str
    step: int | None = None
    unknown: str = dataclasses.field(default="", compare=False)

    @property
    def title(self) -> str:
        """Label, and the mode where it is not the usual one."""
        return self.label if self.mode == "instructions" else f"{self.label}, {self.mode} prompts"


@dataclasses.dataclass(frozen=True)
class Score:
    """A column's result on a dataset, or on a cluster.

    Attributes:
      mean: over templates; for a cluster, of its datasets' means. Scale of 0 to 100.
      std: standard deviation over templates; for a cluster, of its mean when each dataset's
        template is picked by itself. None for a single template.
      interval: 95% bootstrap interval of the mean over examples, or None.
      best: test score of the template that was best on dev, or None.
      best_template: its id; empty for a cluster.
      chosen_again: how often, in [0, 1], other dev rows would have chosen it, or None.
      templates: template id -> score; empty for a cluster.
      training: `seen` in training, `unseen` or `unknown`; `seen` for a cluster with a dataset
        that is.
      because: what training touched it, in words.
      shared: how many evaluated `rows` training had, too: `exact`, `near`; None if not known.
    """

    mean: float
    std: float | None = None
    interval: tuple[float, float] | None = None
    best: float | None = None
    best_template: str = ""
    chosen_again: float | None = None
    templates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    training: str = "unknown"
    because: tuple[str, ...] = ()
    shared: Mapping[str, int] | None = None

    @property
    def seen(self) -> bool:
        """Whether it is the score of a task that was trained on."""
        return self.training == "seen"


@dataclasses.dataclass(frozen=True)
class Line:
    """A dataset or cluster: one score, or None, for each column."""

    name: str
    scores: tuple[Score | None, ...]
    metric: str = ""
    rows: int = 0

    def gain(self, column: int) -> float | None:
        """A column's mean minus the first one's; None where either is missing."""
        first, other = self.scores[0], self.scores[column]
        return None if first is None or other is None else other.mean - first.mean


@dataclasses.dataclass(frozen=True)
class Group:
    """A cluster: its own line over the datasets that all columns share, and theirs."""

    cluster: Line
    datasets: tuple[Line, ...]
    held_out: bool = False


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Checkpoints side by side on one split; the first column is what others are compared with."""

    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    split: str


def compare(
    folders: Sequence[Path],
    *,
    checkpoints: Sequence[str] = (),
    split: str = "test",
    held_out: Iterable[str] = (),
) -> Comparison:
    """Compares all checkpoints of some results folders.

    Args:
      folders: as `flan eval` writes them; one with a `summary.json` alone will do.
      checkpoints: labels to show, in this order. By default all: `base` first, then by step.
      split: `test` or `dev`.
      held_out: clusters to mark as unseen in training.

    Raises:
      FileNotFoundError: a folder without results.
      ValueError: a damaged file, an unknown label, cluster or split, or nothing to show.
    """
    found: dict[Column, Datasets] = {}
    for folder in folders:
        found |= columns_of(folder, {column.label for column in found}, len(folders) > 1)
    if not found:
        raise ValueError(f"no results in {', '.join(map(str, folders))}")
    chosen = _chosen(found, checkpoints)
    return line_up({column: found[column] for column in chosen}, split=split, held_out=held_out)


def line_up(
    columns: Mapping[Column, Datasets], *, split: str = "test", held_out: Iterable[str] = ()
) -> Comparison:
    """Compares columns, in the order given, on one split.

    Raises ValueError for an unknown split or cluster, or nothing to show.
    """
    if split not in SPLITS:
        raise ValueError(unknown_name("split", split, SPLITS))
    modes = list(columns.values())
    clusters: dict[str, dict[str, None]] = {}
    for mode in modes:
        for name, entry in mode.items():
            if split in entry["splits"]:
                clusters.setdefault(entry["cluster"], {})[name] = None
    if not clusters:
        raise ValueError(f"no {split} results of {', '.join(c.title for c in columns)}")
    held_out = list(held_out)
    for cluster in held_out:
        if cluster not in clusters:
            raise ValueError(unknown_name("cluster with results", cluster, clusters))
    order = [c for c in CLUSTERS if c in clusters] + sorted(clusters.keys() - CLUSTERS.keys())
    order.sort(key=lambda c: c not in held_out)
    groups = []
    for cluster in order:
        lines = tuple(_line(name, modes, split) for name in clusters[cluster])
        groups.append(Group(_cluster_line(cluster, lines), lines, cluster in held_out))
    return Comparison(tuple(columns), tuple(groups), split)


def _chosen(found: Iterable[Column], labels: Sequence[str]) -> list[Column]:
    columns = list(found)
    known = list(dict.fromkeys(column.label for column in columns))
    for label in labels:
        if label not in known:
            raise ValueError(unknown_name("checkpoint", label, known))
    if labels:
        return [column for label in labels for column in columns if column.label == label]
    return sorted(columns, key=lambda c: (c.label != BASE, c.step is not None, c.step or 0))


def columns_of(
    folder: Path, taken: Container[str] = (), several: bool = False
) -> dict[Column, Datasets]:
    """Each checkpoint and mode of a folder -> its datasets. A label met before gets the folder's name."""
    columns = {}
    for label, entry in _summary(folder)["checkpoints"].items():
        shown = _shown(folder, label, taken) if several else label
        step = entry.get("step")
        for mode, content in entry["modes"].items():
            unknown = "; ".join(entry.get("unknown", ()))
            columns[Column(shown, mode, step, unknown)] = content["datasets"]
    return columns


def _shown(folder: Path, label: str, taken: Container[str]) -> str:
    """What a checkpoint of a folder is called beside those that have their names already."""
    name = f"{folder.resolve().name}/{label}"
    others = (f"{name} ({count})" for count in itertools.count(2))
    return next(n for n in itertools.chain((label, name), others) if n not in taken)


def titles_of(
    folders: Sequence[Path], comparison: Comparison
) -> list[tuple[Path, dict[tuple[str, str], Column]]]:
    """Each folder, and (checkpoint, mode) there -> its column, for those that are compared."""
    found: list[tuple[Path, dict[tuple[str, str], Column]]] = []
    taken: set[str] = set()
    for folder in folders:
        labels = read_checkpoints(folder) if folder.is_dir() else {}
        shown = {
            label: _shown(folder, label, taken)
            for label in labels or _summary(folder)["checkpoints"]
        }
        titles = {
            (label, column.mode): column
            for label, name in shown.items()
            for column in comparison.columns
            if column.label == name
        }
        found.append((folder, titles))
        taken |= set(shown.values())
    return found


def _summary(folder: Path) -> dict[str, Any]:
    """The summary of a folder: made from its cells, or read where only `summary.json` is left."""
    path = folder / SUMMARY_FILE
    if folder.is_dir() and read_checkpoints(folder):
        return summarize(load_cells(folder), read_checkpoints(folder))
    if not path.is_file():
        raise FileNotFoundError(
            f"no results at {folder}: expected a folder that `flan eval --out` has written"
        )
    try:
        value = json.loads(path.read_bytes())
        check_summary(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    return value


def _line(name: str, modes: Sequence[Mapping[str, Any]], split: str) -> Line:
    entries = [mode.get(name) for mode in modes]
    first = next(e for e in entries if e)
    rows = max(e["splits"][split]["rows"] for e in entries if e and split in e["splits"])
    scores = tuple(_score(e, split) if e else None for e in entries)
    return Line(name, scores, first["main_metric"], rows)


def _score(entry: Mapping[str, Any], split: str) -> Score | None:
    content = entry["splits"].get(split)
    if not content or content["mean"] is None:
        return None
    best = entry["best_dev"] if split == "test" else None
    interval = content.get("interval")
    training = entry.get("training", {})
    return Score(
        content["mean"],
        content["std"],
        (interval[0], interval[1]) if interval else None,
        best["test"] if best else None,
        best["template"] if best else "",
        best.get("chosen_again") if best else None,
        content["templates"],
        training.get("status", "unknown"),
        tuple(training.get("because", ())),
        training.get("rows", {}).get(split),
    )


def _cluster_line(cluster: str, lines: Sequence[Line]) -> Line:
    """Means over the datasets that every column with any of the cluster has."""
    present = [i for i in range(len(lines[0].scores)) if any(line.scores[i] for line in lines)]
    shared = [line for line in lines if all(line.scores[i] for i in present)]
    scores: list[Score | None] = []
    for i in range(len(lines[0].scores)):
        of = [score for line in shared if (score := line.scores[i])]
        if not of:
            scores.append(None)
            continue
        stds = [score.std for score in of]
        bests = [score.best for score in of]
        scores.append(
            Score(
                statistics.fmean(score.mean for score in of),
                None if None in stds else math.hypot(*(s for s in stds if s)) / len(of),
                best=None if None in bests else statistics.fmean(b for b in bests if b is not None),
                training=_worst(score.training for score in of),
            )
        )
    return Line(cluster, tuple(scores), rows=sum(line.rows for line in shared))


def _worst(statuses: Iterable[str]) -> str:
    found = set(statuses)
    return next(s for s in ("seen", "unknown", "unseen") if s in found or s == "unseen")
