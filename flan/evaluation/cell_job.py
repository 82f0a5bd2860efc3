"""What a cell is asked and what it answers, whether its options are ranked or its answers written."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from flan.catalog.dataset import Dataset
from flan.evaluation import results
from flan.evaluation.modes import Exemplars
from flan.evaluation.rows import Rows
from flan.templates.template import Template

T = TypeVar("T")
Prediction = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class CellJob:
    """A cell to compute.

    Attributes:
      cell_id: what it measures.
      dataset, template: whose examples, and how they are put.
      rows: the examples, one or more.
      details: all that decides the result, see `cell_details`.
      exemplars: for few-shot modes.
    """

    cell_id: results.CellId
    dataset: Dataset
    template: Template
    rows: Rows
    details: Mapping[str, Any]
    exemplars: Exemplars | None = None

    @property
    def ranks(self) -> bool:
        """Whether options are ranked; otherwise answers are generated."""
        return self.dataset.task_type != "generation"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the cell of a job comes to; see `flan.evaluation.results.Cell`."""

    task: str
    metrics: dict[str, float]
    metrics_by_score: dict[str, dict[str, float]]
    counts: dict[str, int]
    predictions: list[Prediction]


def split_like(flat: Sequence[T], like: Sequence[Sequence[Any]]) -> list[Sequence[T]]:
    """Cuts a flat list into pieces as long as those of `like`."""
    ends = list(itertools.accumulate(map(len, like)))
    return [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
