"""Cells: a model on some rows of a dataset through one template each."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from flan.catalog.dataset import Dataset, Fields
from flan.evaluation import results
from flan.evaluation.generation import generate
from flan.evaluation.metrics import get_metric
from flan.evaluation.model import EvaluationModel
from flan.evaluation.modes import Exemplars, render_rows
from flan.evaluation.prompts import (
    RankRequest,
    answer_text,
    generation_requests,
    rank_requests,
    stop_id,
)
from flan.evaluation.resampling import replicates
from flan.evaluation.rows import Rows
from flan.evaluation.scoring import SCORES, OptionScores, ScoreName, score_requests
from flan.evaluation.settings import CellSettings
from flan.templates.template import Rendered, Template

T = TypeVar("T")

_VERSIONED = ("flan-jax", "jax", "flax", "numpy", "scipy", "sacrebleu", "rouge-score")


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


Prediction = dict[str, Any]


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
    texts = [text for cell in rendered for text in cell]
    run = _rank if jobs and jobs[0].ranks else _generate
    outcomes = run(model, jobs, rendered, texts, settings, on_progress)
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
                    "seconds": round(seconds * len(job.rows.examples) / len(texts), 3),
                },
            ),
            outcome.predictions,
        )
        for job, outcome in zip(jobs, outcomes, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class _Outcome:
    task: str
    metrics: dict[str, float]
    metrics_by_score: dict[str, dict[str, float]]
    counts: dict[str, int]
    predictions: list[Prediction]


def _rank(
    model: EvaluationModel,
    jobs: Sequence[CellJob],
    rendered: Sequence[Sequence[Rendered]],
    texts: Sequence[Rendered],
    settings: CellSettings,
    on_progress: Callable[[int], Any],
) -> list[_Outcome]:
    requests = rank_requests(texts, model.vocabulary, settings.mode.form, settings.lengths)
    scores = score_requests(
        model.network,
        model.params,
        requests,
        start_id=model.start_id,
        shapes=settings.shapes,
        on_progress=on_progress,
    )
    of_cell = zip(jobs, rendered, _split(requests, rendered), _split(scores, rendered), strict=True)
    return [_ranked(*cell, settings.score) for cell in of_cell]


def _ranked(
    job: CellJob,
    rendered: Sequence[Rendered],
    requests: Sequence[RankRequest],
    scores: Sequence[OptionScores],
    score: ScoreName,
) -> _Outcome:
    rows = job.rows
    by_score: dict[str, dict[str, float]] = {
        name: rank_metrics(job.dataset.metrics, rows.examples, [s.best(name)[0] for s in scores])
        for name in SCORES
    }
    chosen = [s.best(score) for s in scores]
    predictions = [
        {
            "row": row,
            "prediction": fields.options[index],
            "references": list(fields.references),
            "options": list(text.options),
            "label": fields.label,
            "choice": index,
            "tied": tied,
            "scores": _rounded(one),
        }
        for row, fields, text, one, (index, tied) in zip(
            rows.ids, rows.examples, rendered, scores, chosen, strict=True
        )
    ]
    counts = {
        "options": sum(len(r.options) for r in requests),
        "ties": sum(tied for _, tied in chosen),
        "cut_prompts": sum(r.cut > 0 for r in requests),
        "cut_prompt_tokens": sum(r.cut for r in requests),
        "cut_option_tokens": sum(r.cut_options for r in requests),
    }
    return _Outcome("rank", by_score[score], by_score, counts, predictions)


def _generate(
    model: EvaluationModel,
    jobs: Sequence[CellJob],
    rendered: Sequence[Sequence[Rendered]],
    texts: Sequence[Rendered],
    settings: CellSettings,
    on_progress: Callable[[int], Any],
) -> list[_Outcome]:
    vocabulary = model.vocabulary
    requests = generation_requests(texts, vocabulary, settings.mode.form, settings.lengths)
    written = generate(
        model.network,
        model.params,
        requests,
        eos_id=stop_id(vocabulary, settings.mode.form),
        start_id=model.start_id,
        max_new_tokens=settings.lengths.targets,
        shapes=settings.generation_shapes,
        on_progress=on_progress,
    )
    outcomes = []
    for job, asked, ids in zip(
        jobs, _split(requests, rendered), _split(written, rendered), strict=True
    ):
        answers = [answer_text(vocabulary.decode(one), settings.mode.form) for one in ids]
        predictions = [
            {"row": row, "prediction": answer, "references": list(fields.references)}
            for row, fields, answer in zip(job.rows.ids, job.rows.examples, answers, strict=True)
        ]
        counts = {
            "empty_answers": sum(not a for a in answers),
            "unfinished_answers": sum(len(one) == settings.lengths.targets for one in ids),
            "cut_prompts": sum(r.cut > 0 for r in asked),
            "cut_prompt_tokens": sum(r.cut for r in asked),
        }
        metrics = text_metrics(job.dataset.metrics, job.rows.examples, answers)
        outcomes.append(_Outcome("generate", metrics, {}, counts, predictions))
    return outcomes


def _split(flat: Sequence[T], like: Sequence[Sequence[Any]]) -> list[Sequence[T]]:
    """Cuts a flat list into pieces as long as those of `like`."""
    ends = list(itertools.accumulate(map(len, like)))
    return [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def rank_metrics(
    names: Sequence[str], examples: Sequence[Fields], choices: Sequence[int]
) -> dict[str, float]:
    """All metrics of chosen options.

    A choice counts as the dataset's own option of that place, whatever words the template
    gave it, so that texts, labels and numbers compare with the dataset's references.
    """
    found: dict[str, float] = {}
    texts = [f.options[i] for f, i in zip(examples, choices, strict=True)]
    for name in names:
        metric = get_metric(name)
        if metric.takes == "label":
            found |= metric.function([f.label for f in examples], list(choices))
        elif metric.takes == "number":
            found |= metric.function([f.references[0] for f in examples], texts)
        else:
            found |= metric.function([f.references for f in examples], texts)
    return found


def text_metrics(
    names: Sequence[str], examples: Sequence[Fields], answers: Sequence[str]
) -> dict[str, float]:
    """All metrics of generated answers; ValueError for one that needs options."""
    found: dict[str, float] = {}
    for name in names:
        metric = get_metric(name)
        if metric.takes == "label":
            raise ValueError(f"metric {name!r} compares options, and this dataset has none")
        found |= metric.function([f.references for f in examples], answers)
    return found


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


def _rounded(scores: OptionScores) -> dict[str, list[float]]:
    return {name: np.round(scores.by(name), 6).tolist() for name in SCORES}


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _VERSIONED}
