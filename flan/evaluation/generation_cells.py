"""Cells of datasets without options: writes answers and scores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flan.catalog.dataset import Fields
from flan.evaluation.cell_job import CellJob, Outcome, split_like
from flan.evaluation.generation import generate
from flan.evaluation.metrics import get_metric
from flan.evaluation.model import EvaluationModel
from flan.evaluation.prompts import answer_text, generation_requests
from flan.evaluation.settings import CellSettings
from flan.templates.template import Rendered


def generation_cells(
    model: EvaluationModel,
    jobs: Sequence[CellJob],
    rendered: Sequence[Sequence[Rendered]],
    settings: CellSettings,
    on_progress: Callable[[int], Any],
) -> list[Outcome]:
    """Outcomes of cells whose rows are rendered; see `flan.evaluation.cells.run_cells`."""
    texts = [text for cell in rendered for text in cell]
    vocabulary, form, most = model.vocabulary, settings.mode.form, settings.lengths.targets
    requests = generation_requests(texts, vocabulary, form, settings.lengths, model.prefix)
    stops = model.newline_ids if form == "baseline" else ()
    written = generate(
        *model.decoder,
        requests,
        eos_id=vocabulary.eos_id,
        stop_ids=stops,
        start_id=model.start_id,
        max_new_tokens=most,
        decoding=settings.decoding,
        ids=[row for job in jobs for row in job.rows.ids],
        shapes=settings.generation_shapes(model.parts, len(model.prefix)),
        on_progress=on_progress,
    )
    outcomes = []
    for job, asked, ids in zip(
        jobs, split_like(requests, rendered), split_like(written, rendered), strict=True
    ):
        answers = [answer_text(vocabulary.decode(one), form) for one in ids]
        predictions = [
            {"row": row, "prediction": answer, "references": list(fields.references)}
            for row, fields, answer in zip(job.rows.ids, job.rows.examples, answers, strict=True)
        ]
        counts = {
            "empty_answers": sum(not a for a in answers),
            "unfinished_answers": sum(len(one) == most and one[-1] not in stops for one in ids),
            "cut_prompts": sum(r.cut > 0 for r in asked),
            "cut_prompt_tokens": sum(r.cut for r in asked),
        }
        metrics = text_metrics(job.dataset.metrics, job.rows.examples, answers)
        outcomes.append(Outcome("generate", metrics, {}, counts, predictions))
    return outcomes


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
