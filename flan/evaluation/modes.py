"""How a model is asked: `instructions`, the paper's ablations of them, or a baseline prompt.

A mode is named like a rendering (see `flan.templates.renderings`): `instructions`,
`no_options`, `no_template`, `dataset_name`, `5shot`, `no_options_5shot`; or it is
`baseline`, the plain prompt for models that were never tuned, also with exemplars
(`baseline_5shot`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from flan.catalog.dataset import Dataset
from flan.evaluation.prompts import Format
from flan.evaluation.rows import Rows
from flan.suggest import unknown_name
from flan.templates.exemplars import TOKEN_BUDGET, ExemplarPool
from flan.templates.load import TemplateSet
from flan.templates.renderings import (
    EXEMPLAR_END,
    INPUT_TARGET,
    PHRASINGS,
    Rendering,
    UnknownRenderingError,
    parse_rendering,
    template_for,
    with_exemplars,
)
from flan.templates.template import Rendered, Template, Text, render

BASELINE = "baseline"
# Ids of the one prompt of a mode that does without templates.
BASELINE_ID, PLAIN_ID = "baseline", "plain"

_BASELINE = re.compile(r"baseline(?:_(.+))?")
# A baseline's answer follows its prompt after a space and ends at a line end.
_SEPARATORS: dict[Format, tuple[str, str]] = {
    "instructions": (INPUT_TARGET, EXEMPLAR_END),
    "baseline": (" ", "\n\n"),
}


@dataclasses.dataclass(frozen=True)
class Mode:
    """How a model is asked.

    Attributes:
      form: of what the model reads and writes, see `flan.evaluation.prompts`.
      rendering: of the examples; a baseline uses its shots only.
    """

    form: Format = "instructions"
    rendering: Rendering = Rendering()  # noqa: RUF009 - frozen

    @property
    def name(self) -> str:
        """The canonical name, which `parse_mode` reads back; it can be a folder's name."""
        return BASELINE + self.rendering.suffix if self.form == "baseline" else self.rendering.name

    @property
    def uses_templates(self) -> bool:
        """Whether there is a result for each template, not one for all."""
        return self.form == "instructions" and self.rendering.uses_templates


def parse_mode(name: str | Mode) -> Mode:
    """The mode of that name; ValueError with near names when there is none."""
    if isinstance(name, Mode):
        return name
    try:
        if match := _BASELINE.fullmatch(name):
            rendering = parse_rendering(match[1] or "instructions")
            if rendering != Rendering(shots=rendering.shots):
                raise ValueError(f"mode {name!r}: a baseline prompt takes a number of shots only")
            return Mode("baseline", rendering)
        rendering = parse_rendering(name)
    except UnknownRenderingError:
        known = [BASELINE, *(p for p in PHRASINGS if p != "text"), "no_options", "5shot"]
        raise ValueError(
            unknown_name("mode", name, known) + " (parts combine, as in no_options_5shot)"
        ) from None
    if rendering.phrasing == "text":
        raise ValueError("mode 'text' has no answers to score: it is for pretraining")
    return Mode("instructions", rendering)


def templates_for(dataset: Dataset, templates: TemplateSet, mode: Mode) -> tuple[Template, ...]:
    """What a mode renders a dataset with: its forward templates, or the one plain prompt."""
    if mode.form == "baseline":
        prompt = templates.baseline
        answer = Text.parse("{answer}")
        return (Template(BASELINE_ID, prompt.input, answer, options=prompt.options),)
    if mode.uses_templates:
        return tuple(template_for(dataset, templates, t, mode.rendering) for t in templates.forward)
    plain = template_for(dataset, templates, None, mode.rendering)
    return (dataclasses.replace(plain, id=PLAIN_ID),)


@dataclasses.dataclass(frozen=True)
class Exemplars:
    """What few-shot prompts draw from.

    Attributes:
      pool: solved examples.
      count_tokens: tokens of a text, no EOS.
      budget: tokens of a whole prompt at most.
    """

    pool: ExemplarPool
    count_tokens: Callable[[str], int]
    budget: int = TOKEN_BUDGET


def render_rows(
    template: Template, rows: Rows, mode: Mode, source: str, exemplars: Exemplars | None = None
) -> list[Rendered]:
    """The rows of a source through one template.

    Each row draws its exemplars as it does in its first epoch of training data, so that the
    seqio task of the same name asks the same.

    Raises ValueError for an inverted template, or a template that does not fit a row.
    """
    if template.kind != "forward":
        raise ValueError(
            f"template {template.id!r} is {template.kind}: it asks for something else than the "
            "dataset's answer and cannot be evaluated"
        )
    shots = mode.rendering.shots
    if not shots:
        return [render(template, fields) for fields in rows.examples]
    assert exemplars is not None
    return [
        with_exemplars(
            template,
            fields,
            shots,
            exemplars.pool,
            f"{source}/{row}/0",
            exemplars.count_tokens,
            exemplars.budget,
            _SEPARATORS[mode.form],
        )
        for row, fields in zip(rows.ids, rows.examples, strict=True)
    ]
