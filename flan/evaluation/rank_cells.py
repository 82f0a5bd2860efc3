"""Cells of datasets with options: ranks them, and scores the choices by each way to count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flan.catalog.dataset import Fields
from flan.evaluation.cell_job import CellJob, Outcome, split_like
from flan.evaluation.metrics import get_metric
from flan.evaluation.model import EvaluationModel
from flan.evaluation.prompts import RankRequest, rank_requests
from flan.evaluation.scores import SCORES, OptionScores, ScoreName
from flan.evaluation.scoring import score_requests
from flan.evaluation.settings import CellSettings
from flan.templates.template import Rendered


def rank_cells(
    model: EvaluationModel,
    jobs: Sequence[CellJob],
    rendered: Sequence[Sequence[Rendered]],
    settings: CellSettings,
    on_progress: Callable[[int], Any],
) -> list[Outcome]:
    """Outcomes of cells whose rows are rendered; see `flan.evaluation.cells.run_cells`."""
    texts = [text for cell in rendered for text in cell]
    requests = rank_requests(
        texts,
        model.vocabulary,
        settings.mode.form,
        settings.lengths,
        model.reads_start,
        model.prefix,
    )
    scores = score_requests(
        model.network,
        model.params,
        requests,
        start_id=model.start_id,
        shapes=settings.shapes(model.parts, len(model.prefix)),
        unconditional=model.unconditional,
        on_progress=on_progress,
    )
    of_cell = zip(
        jobs, rendered, split_like(requests, rendered), split_like(scores, rendered), strict=True
    )
    return [_ranked(*cell, settings.score) for cell in of_cell]


def _ranked(
    job: CellJob,
    rendered: Sequence[Rendered],
    requests: Sequence[RankRequest],
    scores: Sequence[OptionScores],
    score: ScoreName,
) -> Outcome:
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
    return Outcome("rank", by_score[score], by_score, counts, predictions)


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


def _rounded(scores: OptionScores) -> dict[str, list[float]]:
    return {name: np.round(scores.by(name), 6).tolist() for name in SCORES}
