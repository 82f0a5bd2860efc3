"""Renderings by name: the template as it is, and the ablations of the paper's section 4.

`instructions` (the default), `no_template` (the plain content), `dataset_name` (the same
after "[RTE] "), `text` (the plain content without the answer: raw text for pretraining),
`no_options` (the template without its OPTIONS block), `5shot` (five solved examples
first). Parts combine with "_": `no_options_5shot`, `dataset_name_2shot`.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Literal

from flan.catalog.dataset import Dataset, Fields
from flan.suggest import unknown_name
from flan.templates.exemplars import TOKEN_BUDGET, ExemplarPool
from flan.templates.load import TemplateSet
from flan.templates.template import Rendered, Template, Text, render

Phrasing = Literal["instructions", "no_template", "dataset_name", "text"]
PHRASINGS: tuple[Phrasing, ...] = ("instructions", "no_template", "dataset_name", "text")
MAX_SHOTS = 64

# Between an exemplar's input and its target, and after the target. Blank lines, because
# any vocabulary that keeps newlines (all that we accept) keeps them apart.
INPUT_TARGET = "\n\n"
EXEMPLAR_END = "\n\n\n"

_PART = re.compile(r"instructions|no_template|dataset_name|text|no_options|(\d+)shot")


class UnknownRenderingError(ValueError):
    """A name with a part that is no rendering."""


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How an example becomes text, whatever its dataset and template.

    Attributes:
      phrasing: the template, the plain content, the content after the dataset's name, or
        the content with no target.
      options: whether the OPTIONS block stays in the input.
      shots: solved examples before the query, at most.
    """

    phrasing: Phrasing = "instructions"
    options: bool = True
    shots: int = 0

    @property
    def suffix(self) -> str:
        """What a task name carries: "" for plain instructions, `_no_options_5shot`."""
        parts: list[str] = [self.phrasing] if self.phrasing != "instructions" else []
        parts += [] if self.options else ["no_options"]
        parts += [f"{self.shots}shot"] if self.shots else []
        return "".join(f"_{part}" for part in parts)

    @property
    def name(self) -> str:
        """The canonical name, which `parse_rendering` reads back."""
        return self.suffix.removeprefix("_") or "instructions"

    @property
    def uses_templates(self) -> bool:
        """Whether the template matters; if not, all templates render the same text."""
        return self.phrasing == "instructions"


def parse_rendering(name: str | Rendering) -> Rendering:
    """The rendering of that name.

    Raises ValueError for an unknown part, two phrasings at once, a part said twice, or a
    number of shots outside 1..64.
    """
    if isinstance(name, Rendering):
        return name
    phrasing: Phrasing | None = None
    options, shots = True, 0
    rest = name
    while rest:
        match = _PART.match(rest)
        if match is None or not (match.end() == len(rest) or rest[match.end()] == "_"):
            raise UnknownRenderingError(
                unknown_name("rendering", name, [*PHRASINGS, "no_options", "5shot"])
                + " (any number of shots; parts combine with '_', as in no_options_5shot)"
            )
        part = match.group()
        rest = rest[match.end() + 1 :]
        said_twice = False
        if part == "no_options":
            said_twice, options = not options, False
        elif match.group(1):
            said_twice, shots = bool(shots), int(match.group(1))
            if not 1 <= shots <= MAX_SHOTS:
                raise ValueError(f"rendering {name!r}: {shots} shots; give 1 to {MAX_SHOTS}")
        else:
            said_twice, phrasing = phrasing is not None, _phrasing(part)
        if said_twice:
            raise ValueError(
                f"rendering {name!r} says {part!r} after another such part: give one of "
                f"{', '.join(PHRASINGS)}, no_options once and one number of shots"
            )
    if not name:
        raise ValueError("the rendering's name is empty: 'instructions' is the ordinary one")
    return Rendering(phrasing or "instructions", options, shots)


def _phrasing(part: str) -> Phrasing:
    return next(p for p in PHRASINGS if p == part)


def render_example(
    dataset: Dataset,
    template_set: TemplateSet,
    template: Template | None,
    fields: Fields,
    rendering: str | Rendering = "instructions",
    exemplars: Sequence[Fields] = (),
) -> Rendered:
    """One example as text.

    Args:
      dataset: gives the title that `dataset_name` prepends.
      template_set: gives the plain form.
      template: the phrasing; may be None where the rendering uses no template.
      fields: the query.
      rendering: a name or a parsed one.
      exemplars: solved examples to put first, in this order (see `ExemplarPool`); the
        rendering's `shots` says how many to draw, not how many there are.

    Raises:
      ValueError: unknown rendering; no template where one is needed; exemplars for a
        rendering without shots, or more than it has; whatever `render` raises.
    """
    rendering = parse_rendering(rendering)
    if len(exemplars) > rendering.shots:
        raise ValueError(
            f"{len(exemplars)} exemplars for rendering {rendering.name!r}, "
            f"which has room for {rendering.shots}"
        )
    phrased = template_for(dataset, template_set, template, rendering)
    query = render(phrased, fields)
    if not exemplars:
        return query
    solved = "".join(_solved(phrased, fields) for fields in exemplars)
    return dataclasses.replace(query, input=solved + query.input)


def render_few_shot(
    dataset: Dataset,
    template_set: TemplateSet,
    template: Template | None,
    fields: Fields,
    rendering: str | Rendering,
    pool: ExemplarPool,
    row: int | str,
    count_tokens: Callable[[str], int],
    budget: int = TOKEN_BUDGET,
) -> Rendered:
    """Draws a row's exemplars from `pool` and renders; as `render_example` for no shots.

    `row` identifies the query for the draw (its row id). `count_tokens` gives the tokens of
    a text, without EOS. `budget` is for the whole input, the query among them, so that
    cutting an input to its length never cuts the query off. Raises what `render_example`
    raises.
    """
    rendering = parse_rendering(rendering)
    phrased = template_for(dataset, template_set, template, rendering)
    return with_exemplars(phrased, fields, rendering.shots, pool, row, count_tokens, budget)


def with_exemplars(
    template: Template,
    fields: Fields,
    shots: int,
    pool: ExemplarPool,
    row: int | str,
    count_tokens: Callable[[str], int],
    budget: int = TOKEN_BUDGET,
    separators: tuple[str, str] = (INPUT_TARGET, EXEMPLAR_END),
) -> Rendered:
    """Renders a query after up to `shots` solved examples in the same template.

    `separators` stand between an exemplar's input and its target, and after the target; the
    rest is as in `render_few_shot`. Exemplars are drawn by their own tokens; the whole may
    have more, since some vocabularies split line ends by what follows: the last are left out then.
    """
    query = render(template, fields)
    if not shots:
        return query
    exemplars = pool.draw(
        fields,
        row,
        shots,
        cost=lambda exemplar: count_tokens(_solved(template, exemplar, separators)),
        budget=budget - count_tokens(query.input),
    )
    solved = [_solved(template, exemplar, separators) for exemplar in exemplars]
    while solved and count_tokens("".join(solved) + query.input) > budget:
        solved.pop()
    return dataclasses.replace(query, input="".join(solved) + query.input)


def template_for(
    dataset: Dataset, template_set: TemplateSet, template: Template | None, rendering: Rendering
) -> Template:
    """The template that carries out a rendering, exemplars aside.

    Raises ValueError where the rendering needs a template and there is none.
    """
    if rendering.phrasing == "text":
        template = Template("text", template_set.plain, Text.parse(""))
    elif rendering.phrasing == "no_template":
        template = _plain_template(template_set.plain, "")
    elif rendering.phrasing == "dataset_name":
        template = _plain_template(template_set.plain, dataset.title)
    elif template is None:
        raise ValueError(
            f"rendering {rendering.name!r} of {dataset.name!r} needs a template, got None"
        )
    return template if rendering.options else _no_options_template(template)


def _solved(
    template: Template,
    fields: Fields,
    separators: tuple[str, str] = (INPUT_TARGET, EXEMPLAR_END),
) -> str:
    rendered = render(template, fields)
    return rendered.input + separators[0] + rendered.target + separators[1]


@functools.lru_cache(maxsize=4096)
def _plain_template(plain: Text, title: str) -> Template:
    first, *rest = plain.pieces
    prefix = f"[{title}] " if title else ""
    return Template("plain", Text((prefix + first, *rest)), Text.parse("{answer}"))


@functools.lru_cache(maxsize=4096)
def _no_options_template(template: Template) -> Template:
    return dataclasses.replace(template, input=without_options(template.input))


def without_options(text: Text) -> Text:
    """The text without `{options}` and the blank line that sets it apart."""
    pieces = list(text.pieces)
    while "options" in pieces[1::2]:
        hole = 1 + 2 * pieces[1::2].index("options")
        before, after = pieces[hole - 1], pieces[hole + 1]
        if hole + 2 == len(pieces) and not after.strip():
            joined = before.rstrip()
        elif hole == 1 and not before.strip():
            joined = after.lstrip()
        else:
            breaks = max(_newlines(before[::-1]), _newlines(after))
            joined = before.rstrip("\n") + "\n" * breaks + after.lstrip("\n")
        pieces[hole - 1 : hole + 2] = [joined]
    return Text(tuple(pieces))


def _newlines(text: str) -> int:
    return len(text) - len(text.lstrip("\n"))
