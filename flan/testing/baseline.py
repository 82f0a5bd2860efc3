"""Scores of baseline prompts, as tests and benchmarks compare them with another program's."""

from __future__ import annotations

from flan.catalog.registry import get_dataset
from flan.evaluation.model import EvaluationModel
from flan.evaluation.modes import parse_mode, templates_for
from flan.evaluation.prompts import rank_requests
from flan.evaluation.rows import Rows
from flan.evaluation.scores import OptionScores
from flan.evaluation.scoring import score_requests
from flan.evaluation.settings import CellSettings
from flan.templates.load import load_templates
from flan.templates.template import Rendered, render


def baseline_texts(name: str, rows: Rows) -> list[Rendered]:
    """Rows of a dataset with a single baseline prompt, as that prompt puts them."""
    (prompt,) = templates_for(get_dataset(name), load_templates(name), parse_mode("baseline"))
    return [render(prompt, fields) for fields in rows.examples]


def baseline_scores(model: EvaluationModel, texts: list[Rendered]) -> list[OptionScores]:
    """Scores of each text's options, as `flan eval --mode baseline` takes them."""
    settings = CellSettings(mode=parse_mode("baseline"))
    requests = rank_requests(
        texts, model.vocabulary, "baseline", settings.lengths, model.reads_start
    )
    with model.running():
        return score_requests(
            model.network,
            model.params,
            requests,
            start_id=model.start_id,
            shapes=settings.shapes(model.parts),
            unconditional=model.unconditional,
        )
