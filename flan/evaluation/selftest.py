"""Do scores move with the batch? A sample scored in many ways that must not matter.

Each way differs from the first in one thing: rows in a batch, length of the rows (padding),
what shares a row (packing), order, devices. The largest difference of any score of any
option is what it is judged by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from flan.catalog.registry import get_dataset
from flan.data.example_rows import demo_examples
from flan.evaluation.model import EvaluationModel
from flan.evaluation.modes import Mode, parse_mode, templates_for
from flan.evaluation.placement import place
from flan.evaluation.prompts import RankRequest, rank_requests
from flan.evaluation.scores import SCORES, TIE_TOLERANCE, OptionScores
from flan.evaluation.scoring import score_requests
from flan.evaluation.settings import CellSettings
from flan.evaluation.shapes import BatchShapes
from flan.templates.load import load_templates
from flan.templates.template import render

# Short and long inputs, two options and many, options of one token and of many.
SAMPLE = ("rte", "hellaswag", "arc", "bool_q", "trec")
_MODES = (Mode(), parse_mode("baseline"))
_ALONE = 6  # requests that are scored one by one


@dataclasses.dataclass(frozen=True)
class Movement:
    """How far scores moved in one way to batch them.

    Attributes:
      variation: the way.
      compared: scores compared.
      largest: the largest difference, in any of `SCORES`.
      changed: predictions that came out otherwise.
    """

    variation: str
    compared: int
    largest: float
    changed: int

    @property
    def passed(self) -> bool:
        """Whether no score moved by more than what counts as a tie."""
        return self.largest <= TIE_TOLERANCE


def sample_requests(
    model: EvaluationModel, settings: CellSettings, rows: int = 4, templates: int = 2
) -> list[RankRequest]:
    """Generated rows of a few datasets through a few templates and the baseline prompt."""
    requests = []
    for name in SAMPLE:
        dataset = get_dataset(name)
        examples = [e.fields for e in demo_examples(dataset, 3 * rows) if e.fields is not None]
        for mode in _MODES:
            for template in templates_for(dataset, load_templates(name), mode)[:templates]:
                texts = [render(template, fields) for fields in examples[:rows]]
                requests += rank_requests(
                    texts,
                    model.vocabulary,
                    mode.form,
                    settings.lengths,
                    model.reads_start,
                    model.prefix,
                )
    return requests


def selftest(
    model: EvaluationModel,
    requests: Sequence[RankRequest],
    settings: CellSettings,
    on_progress: Callable[[int], Any] = lambda done: None,
) -> list[Movement]:
    """Scores requests in each way and compares with the first; see the module's docstring.

    `on_progress` is called with the number of requests scored since its last call.
    """
    usual = settings.shapes(model.parts, len(model.prefix))
    expected = _scores(model, requests, usual, on_progress)
    found = []
    for name, order, shapes in _variations(len(requests), usual):
        scores = _scores(model, [requests[i] for i in order], shapes, on_progress)
        found.append(_movement(name, [expected[i] for i in order], scores))
    alone = [_scores(model, [request], usual, on_progress)[0] for request in requests[:_ALONE]]
    found.append(_movement("each alone", expected[:_ALONE], alone))
    if _has_others(model):
        single = on_one_device(model)
        scores = _scores(single, requests, settings.shapes(prefix=len(model.prefix)), on_progress)
        found.append(_movement(f"one device of {len(jax.devices())}", expected, scores))
    return found


def scored_times(model: EvaluationModel, requests: int) -> int:
    """How many requests `selftest` scores, given so many."""
    ways = [len(order) for _, order, _ in _variations(requests, BatchShapes())]
    return requests * (1 + _has_others(model)) + sum(ways) + min(_ALONE, requests)


def _has_others(model: EvaluationModel) -> bool:
    return len(jax.devices()) > 1 and model.placement is not None


def on_one_device(model: EvaluationModel) -> EvaluationModel:
    """The same model on the first device alone."""
    placement = place(model.network.config, devices=1)
    shardings = placement.shardings(model.network.config)
    params = jax.tree.map(jax.device_put, model.params, shardings)
    return dataclasses.replace(model, params=params, placement=placement)


def _variations(count: int, usual: BatchShapes) -> Iterator[tuple[str, Sequence[int], BatchShapes]]:
    """(name, order, shapes) of each way."""
    straight = range(count)
    shuffled = np.random.default_rng(0).permutation(count).tolist()
    fewest, length = usual.multiple, usual.row_length
    yield "one row in a batch", straight, dataclasses.replace(usual, batch_rows=fewest)
    yield (
        "three times the rows",
        straight,
        dataclasses.replace(usual, batch_rows=3 * usual.batch_rows),
    )
    yield "padded to the longest rows", straight, dataclasses.replace(usual, shortest=length)
    yield "packed into short rows", straight, dataclasses.replace(usual, shortest=32)
    yield "reversed", straight[::-1], usual
    yield "shuffled", shuffled, usual
    yield "every other one", straight[::2], usual


def _scores(
    model: EvaluationModel,
    requests: Sequence[RankRequest],
    shapes: BatchShapes,
    on_progress: Callable[[int], Any],
) -> list[OptionScores]:
    """Scores with nothing remembered from other ways."""
    with model.running():
        return score_requests(
            model.network,
            model.params,
            requests,
            start_id=model.start_id,
            shapes=shapes,
            on_progress=on_progress,
        )


def _movement(
    name: str, expected: Sequence[OptionScores], found: Sequence[OptionScores]
) -> Movement:
    largest, compared, changed = 0.0, 0, 0
    for one, two in zip(expected, found, strict=True):
        for score in SCORES:
            difference = np.abs(one.by(score) - two.by(score))
            largest, compared = max(largest, float(difference.max())), compared + len(difference)
            changed += one.best(score)[0] != two.best(score)[0]
    return Movement(name, compared, largest, changed)
