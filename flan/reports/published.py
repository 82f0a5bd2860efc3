"""Scores out of papers, from `published.yaml`."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


@dataclasses.dataclass(frozen=True)
class Published:
    """Scores by name, and where they are printed.

    Attributes:
      source: paper, and figure or table.
      scores: name -> score, or scores of `models` in order.
      note: in what they are not like ours.
    """

    source: str
    scores: Mapping[Any, Any]
    note: str = ""


def models() -> tuple[str, ...]:
    """Names of the models whose scores are listed."""
    return tuple(_content()["models"])


def by_cluster() -> Published:
    """Cluster -> scores of the models."""
    return _of(_content()["clusters"])


def by_dataset() -> Published:
    """Dataset -> scores of the models, means over its sources."""
    found = _of(_content()["datasets"])
    means = {name: _means(rows) for name, rows in found.scores.items()}
    return Published(found.source, means)


def ablation(tag: str) -> Published | None:
    """Value of a tag -> mean score, where a paper has tried it."""
    entry = _content()["ablations"].get(tag)
    return _of(entry) if entry else None


def _means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(statistics.fmean(column) for column in zip(*rows, strict=True))


def _of(entry: Mapping[str, Any]) -> Published:
    paper = _content()["sources"][entry["source"]]
    return Published(f"{paper}, {entry['where']}", entry["scores"], entry.get("note", ""))


@functools.cache
def _content() -> dict[str, Any]:
    path = Path(__file__).with_name("published.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))
