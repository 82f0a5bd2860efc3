"""Templates: text with `{field}` holes, parsed once, rendered by joining strings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal

from flan.catalog.dataset import Fields
from flan.suggest import unknown_name

Kind = Literal["forward", "inverted"]

_HOLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
OPTIONS_HEADER = "OPTIONS:"


@dataclasses.dataclass(frozen=True)
class Text:
    """A parsed text: literal pieces and field names in turn, starting with a literal.

    `pieces` has odd length; even places are literals, odd ones names of fields.
    """

    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Text:
        """Splits at `{name}`; raises ValueError for any other brace."""
        pieces = tuple(_HOLE.split(text))
        for literal in pieces[::2]:
            if "{" in literal or "}" in literal:
                raise ValueError(
                    f"stray brace in {literal!r}: only {{field}} with lower-case letters, "
                    "digits and underscores is allowed"
                )
        return cls(pieces)

    @property
    def names(self) -> tuple[str, ...]:
        """Field names in order of appearance, repeated as they are."""
        return self.pieces[1::2]

    @property
    def source(self) -> str:
        """The text as it was written."""
        return "".join(p if i % 2 == 0 else f"{{{p}}}" for i, p in enumerate(self.pieces))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with its holes filled; ValueError naming a hole that `values` lacks."""
        pieces = list(self.pieces)
        try:
            pieces[1::2] = [values[name] for name in pieces[1::2]]
        except KeyError as error:
            message = unknown_name("template field", error.args[0], sorted(values))
            raise ValueError(message) from None
        return "".join(pieces)


@dataclasses.dataclass(frozen=True)
class Template:
    """One way to phrase a dataset's example.

    Attributes:
      id: stable within the dataset (`t0` to `t9`); part of task names and cache keys.
      input: what the model reads.
      target: what it has to write; `{answer}` for forward templates.
      kind: `inverted` templates "turn the task around" (paper, section 2.1); they train
        but are never evaluated.
      options: verbalizers in label order in place of the dataset's own.
    """

    id: str
    input: Text
    target: Text
    kind: Kind = "forward"
    options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered example: plain text, ready for a tokenizer.

    Attributes:
      input, target: without EOS.
      options: the choices as this template words them; empty for free-form targets.
      label: index of the right option, or None.
      references: texts that count as right answers, for metrics.
    """

    input: str
    target: str
    options: tuple[str, ...] = ()
    label: int | None = None
    references: tuple[str, ...] = ()


def options_block(options: tuple[str, ...]) -> str:
    """The OPTIONS suffix of the paper: a header, then one option a line."""
    return "\n- ".join((OPTIONS_HEADER, *options))


def render(template: Template, fields: Fields) -> Rendered:
    """Fills a template from an example's fields.

    A template's own `options` replace the dataset's, label for label. Raises ValueError
    where the template asks for a field that the example lacks, or where its options do
    not match the labels.
    """
    options, answer, references = fields.options, fields.answer, fields.references
    if template.options:
        if len(template.options) != len(options) or fields.label is None:
            raise ValueError(
                f"template {template.id!r} words {len(template.options)} options "
                f"{list(template.options)}, the example has {len(options)}: {list(options)}"
            )
        options = template.options
        answer = options[fields.label]
        if references == (fields.answer,):
            references = (answer,)
    values = {**fields.values, "answer": answer}
    if options:
        values["options"] = options_block(options)
    target = template.target.fill(values)
    if template.kind == "inverted":
        return Rendered(template.input.fill(values), target, references=(target,))
    return Rendered(template.input.fill(values), target, options, fields.label, references)
