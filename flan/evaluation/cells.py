"""Cells: a model on some rows of a dataset through one template each."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from typing import Any

from flan.evaluation import results
from flan.evaluation.cell_job import CellJob, Prediction
from flan.evaluation.generation_cells import generation_cells
from flan.evaluation.metrics import get_metric
from flan.evaluation.model import EvaluationModel
from flan.evaluation.modes import render_rows
from flan.evaluation.rank_cells import rank_cells
from flan.evaluation.resampling import replicates
from flan.evaluation.settings import CellSettings

_VERSIONED = ("flan-jax", "jax", "flax", "numpy", "scipy", "sacrebleu", "rouge-score")


def run_cells(
    model: EvaluationModel,
    jobs: Sequence[CellJob],
    settings: CellSettings,
    on_progress: Callable[[int], Any] = lambda done: None,
) -> list[tuple[results.Cell, list[Prediction]]]:
    """Computes cells together, so that small ones fill batches. All must rank, or none.

    Returns:
      Each cell, and for each of its rows a prediction as JSON values: `row`, `prediction`,
      `references`; with options also `options`, `label`, `choice`, `tied` and `scores`.

    Raises:
      ValueError: an unknown metric, or one that does not fit the task.
    """
    assert len({job.ranks for job in jobs}) <= 1
    assert all(job.rows.examples for job in jobs)
    started = time.perf_counter()
    rendered = [
        render_rows(job.template, job.rows, settings.mode, job.cell_id.source, job.exemplars)
        for job in jobs
    ]
    if jobs and jobs[0].ranks:
        outcomes = rank_cells(model, jobs, rendered, settings, on_progress)
    else:
        outcomes = generation_cells(model, jobs, rendered, settings, on_progress)
    rows = sum(map(len, rendered))
    seconds = time.perf_counter() - started
    return [
        (
            results.Cell(
                id=job.cell_id,
                key=results.content_hash(job.details),
                cluster=job.dataset.cluster,
                task=outcome.task,
                main_metric=get_metric(job.dataset.metrics[0]).main,
                metrics=outcome.metrics,
                metrics_by_score=outcome.metrics_by_score,
                replicates=_replicates(job, outcome.predictions),
                counts={"rows": len(job.rows.examples), **outcome.counts},
                details={
                    **job.details,
                    "versions": _versions(),
                    "seconds": round(seconds * len(job.rows.examples) / rows, 3),
                },
            ),
            outcome.predictions,
        )
        for job, outcome in zip(jobs, outcomes, strict=True)
    ]


def _replicates(job: CellJob, predictions: Sequence[Prediction]) -> tuple[float, ...]:
    """The main metric on samples of the rows, the same samples for all cells on these rows."""
    metric = get_metric(job.dataset.metrics[0])
    examples = job.rows.examples
    targets: list[Any]
    if metric.takes == "label":
        targets, found = [f.label for f in examples], [p["choice"] for p in predictions]
    else:
        # Numbers have one right answer; a dataset's texts may have several.
        one = metric.takes == "number"
        targets = [f.references[:1] if one else f.references for f in examples]
        found = [p["prediction"] for p in predictions]
    cell = job.cell_id
    rows = [cell.dataset, cell.source, cell.split, job.details["rows"], job.details["limit"]]
    return replicates(metric, targets, found, results.content_hash(rows))


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _VERSIONED}
