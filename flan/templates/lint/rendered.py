"""Rules that need example rows: what is wrong only once fields fill the holes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flan.catalog.dataset import Fields
from flan.templates.lint.rule import WHOLE_FILE, Subject, rule
from flan.templates.template import Text, render

Found = Iterator[tuple[str, str]]

# Rows from which on "always" means something.
ENOUGH_ROWS = 8

_ENDS = ".?!,;:…"
_BEGINS = re.compile(r"[\"”’')\]]*\s?[.?!,;:]")


@rule("row-fields")
def row_fields(subject: Subject) -> Found:
    """To_fields gives the fields and options that the catalog names."""
    dataset = subject.dataset
    for place, fields in enumerate(subject.rows):
        if set(fields.values) != set(dataset.fields):
            yield (
                WHOLE_FILE,
                f"row {place}: to_fields gives {sorted(fields.values)}, the catalog says "
                f"{sorted(dataset.fields)}",
            )
        if subject.has_options != bool(fields.options):
            yield WHOLE_FILE, f"row {place}: {dataset.task_type} with options {fields.options}"
        if dataset.options and fields.options != dataset.options:
            yield (
                WHOLE_FILE,
                f"row {place}: options {list(fields.options)} are not the dataset's "
                f"{list(dataset.options)}",
            )
        if not fields.answer.strip():
            yield WHOLE_FILE, f"row {place}: the answer is empty; to_fields should drop the row"


@rule("row-renders")
def row_renders(subject: Subject) -> Found:
    """Every template renders every row to some input and target."""
    for template in subject.set.templates:
        for place, fields in enumerate(subject.rows):
            try:
                rendered = render(template, fields)
            except ValueError as error:
                yield template.id, f"row {place}: {error}"
                break
            if not rendered.input.strip() or not rendered.target.strip():
                yield template.id, f"row {place}: renders to an empty input or target"
                break


@rule("row-punctuation")
def row_punctuation(subject: Subject) -> Found:
    """No punctuation mark after a field that ends in one."""
    for where, text in subject.texts():
        for place, hole in enumerate(text.names):
            clash = _clash(text, place, hole, subject.rows)
            if clash:
                yield where, f"{clash!r}: {{{hole}}} may end in a mark, so no other can follow it"


def _clash(text: Text, place: int, hole: str, rows: tuple[Fields, ...]) -> str:
    """The first rendered place where a mark follows a mark; empty if there is none."""
    follows = text.pieces[2 * place + 2]
    match = _BEGINS.match(follows)
    if not match or follows.startswith("..."):
        return ""
    quoted = match.group()[0] in "\"”’')]"
    for fields in rows:
        value = fields.answer if hole == "answer" else fields.values.get(hole, "")
        last = value.rstrip("\"”’')]")[-1:]
        # He said "yes." is fine before a closing quote and another kind of mark.
        if last and last in _ENDS and (not quoted or last == match.group()[-1]):
            return (value[-20:] + match.group()).replace("\n", " ")
    return ""


@rule("row-empty-field")
def row_empty_field(subject: Subject) -> Found:
    """No template shows a field that is empty."""
    for name in subject.dataset.fields:
        empty = [
            i for i, fields in enumerate(subject.rows) if not fields.values.get(name, "-").strip()
        ]
        if not empty:
            continue
        for template in subject.set.templates:
            if name in (*template.input.names, *template.target.names):
                yield (
                    template.id,
                    f"shows {{{name}}}, which is empty in row {empty[0]}: drop such rows in "
                    "to_fields or do without the field",
                )


@rule("row-padding")
def row_padding(subject: Subject) -> Found:
    """Fields have no white space around them."""
    for place, fields in enumerate(subject.rows):
        for name, value in [*fields.values.items(), ("answer", fields.answer)]:
            if value != value.strip():
                yield WHOLE_FILE, f"row {place}: {{{name}}} is padded ({value[:40]!r}): strip it"
                return


@rule("row-left-out")
def row_left_out(subject: Subject) -> Found:
    """No template leaves out what all other forward templates show."""
    forward = subject.set.forward
    if len(forward) < 4:
        return
    for name in subject.dataset.fields:
        without = [t for t in forward if name not in t.input.names]
        if len(without) != 1:
            continue
        # Another field may hold the same words: an unfinished sentence, a question worded in.
        for fields in subject.rows:
            shown = set(_words(render(without[0], fields).input))
            lacking = [w for w in _words(fields.values.get(name, "")) if w not in shown]
            if len(lacking) > len(_words(fields.values.get(name, ""))) / 2:
                yield (
                    without[0].id,
                    f"lacks {{{name}}}, which the {len(forward) - 1} other forward templates show",
                )
                break


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


@rule("row-answer-in-input")
def row_answer_in_input(subject: Subject) -> Found:
    """No field of a forward template is the answer, row after row."""
    rows = subject.rows
    if len(rows) < ENOUGH_ROWS:
        return
    for name in subject.dataset.fields:
        if all(_same(fields.values.get(name, ""), fields) for fields in rows):
            for template in subject.set.forward:
                if name in template.input.names:
                    yield (
                        template.id,
                        f"shows {{{name}}}, which is the answer in all {len(rows)} rows",
                    )


def _same(value: str, fields: Fields) -> bool:
    # Exact, since true-casing and word segmentation differ in nothing but case and spaces.
    return value.strip() in {text.strip() for text in (fields.answer, *fields.references)}
