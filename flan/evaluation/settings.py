"""How cells are computed, and the key that says which result a cell is."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import jax

from flan.catalog.dataset import Dataset
from flan.evaluation import results
from flan.evaluation.generation import GenerationShapes
from flan.evaluation.model import EvaluationModel
from flan.evaluation.modes import Mode
from flan.evaluation.prompts import Lengths
from flan.evaluation.scores import SCORES, ScoreName
from flan.evaluation.shapes import BatchShapes
from flan.models.sampling import Decoding
from flan.suggest import unknown_name
from flan.templates.template import Template

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CellSettings:
    """How cells are computed.

    Attributes:
      mode: how the model is asked.
      score: which score of the options decides. The paper takes the highest
        log-probability, which is `sum`.
      lengths: tokens read and written at most.
      seed: of the exemplars that few-shot modes draw.
      decoding: how answers are written where there are no options.
      batch_rows: rows of full length in a batch, of answers 8 times as many; changes speed
        and memory only. None takes 1 (2 for answers) on a CPU and 16 elsewhere.
    """

    mode: Mode = Mode()  # noqa: RUF009 - frozen
    score: ScoreName = "sum"
    lengths: Lengths = Lengths()  # noqa: RUF009 - frozen
    seed: int = 0
    decoding: Decoding = Decoding()  # noqa: RUF009 - frozen
    batch_rows: int | None = None

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(unknown_name("score", self.score, SCORES))
        if self.batch_rows is not None and self.batch_rows < 1:
            raise ValueError(f"batch_rows must be positive, got {self.batch_rows}")

    def within(self, context_length: int | None, prefix: int = 0) -> CellSettings:
        """The same with inputs that a model of this context can read.

        Args:
          context_length: tokens that the model was made for; None where it says nothing.
          prefix: tokens read before each input.

        Raises:
          ValueError: no input fits beside the targets.
        """
        lengths = self.lengths
        if context_length is None or prefix + lengths.inputs + lengths.targets <= context_length:
            return self
        inputs = context_length - prefix - lengths.targets
        if inputs < 2:
            raise ValueError(
                f"the model was made for {context_length} tokens, targets of {lengths.targets} "
                f"leave no room for inputs; ask for shorter targets"
            )
        log.warning(
            "the model was made for %d tokens: inputs are cut to %d instead of %d",
            context_length,
            inputs,
            lengths.inputs,
        )
        return dataclasses.replace(self, lengths=dataclasses.replace(lengths, inputs=inputs))

    def shapes(self, parts: int = 1, prefix: int = 0) -> BatchShapes:
        """Shapes for rank classification on devices that split rows into `parts`.

        `prefix` tokens are read before each input.
        """
        length = prefix + self.lengths.inputs + self.lengths.targets
        return BatchShapes(length, max(self._rows, parts), multiple=parts)

    def generation_shapes(self, parts: int = 1, prefix: int = 0) -> GenerationShapes:
        """Shapes for generation on devices that split rows into `parts`, as `shapes`."""
        # A step reads all weights, however many rows share it.
        slots = 8 * (self.batch_rows or (2 if jax.default_backend() == "cpu" else 16))
        return GenerationShapes.on_parts(prefix + self.lengths.inputs, slots, parts)

    @property
    def _rows(self) -> int:
        # A CPU gains nothing from larger batches, which leave its caches and end in padding.
        return self.batch_rows or (1 if jax.default_backend() == "cpu" else 16)


def cell_details(
    model: EvaluationModel,
    dataset: Dataset,
    template: Template,
    rows_key: str,
    limit: int | None,
    settings: CellSettings,
    exemplar_keys: Sequence[str] = (),
) -> dict[str, Any]:
    """All that decides a cell's result, as plain values; `results.content_hash` makes it a key.

    `exemplar_keys` name the training rows that a few-shot mode draws from.
    """
    read = {"prefix_lm": True} if model.network.prefix_lm else {}
    few_shot = {"exemplars": list(exemplar_keys), "seed": settings.seed} if exemplar_keys else {}
    written = dataset.task_type == "generation" and not settings.decoding.greedy
    decoding = {"decoding": dataclasses.asdict(settings.decoding)} if written else {}
    return {
        "format": results.FORMAT,
        "checkpoint": model.fingerprint,
        "step": model.step,
        "vocabulary": model.vocabulary.fingerprint,
        "template": template_hash(template),
        "rows": rows_key,
        "limit": limit,
        "mode": settings.mode.name,
        **read,
        **few_shot,
        **decoding,
        "score": settings.score,
        "scores": list(SCORES),
        "lengths": dataclasses.asdict(settings.lengths),
        "dtype": model.dtype,
        "metrics": list(dataset.metrics),
        "dataset_version": dataset.version,
    }


def template_hash(template: Template) -> str:
    """SHA-256 in hex of a template's text, options and kind."""
    content = [template.input.source, template.target.source, template.kind, *template.options]
    return results.content_hash(content)
