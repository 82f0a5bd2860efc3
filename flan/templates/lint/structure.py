"""Count, ids, holes and kinds."""

from __future__ import annotations

from collections.abc import Iterator

from flan.templates.lint.rule import BASELINE, PLAIN, WHOLE_FILE, Subject, rule
from flan.templates.template import Template

TEMPLATES = 10
MAX_INVERTED = 3
ANSWER, OPTIONS = "answer", "options"

Found = Iterator[tuple[str, str]]


def content_names(template: Template) -> list[str]:
    """Names in the input that are the example's content: neither options nor answer."""
    return [n for n in template.input.names if n not in (OPTIONS, ANSWER)]


@rule("count")
def count(subject: Subject) -> Found:
    """A dataset has 10 templates."""
    found = len(subject.set.templates)
    if found != TEMPLATES:
        yield WHOLE_FILE, f"{found} templates; a dataset has {TEMPLATES}"


@rule("ids")
def ids(subject: Subject) -> Found:
    """Ids are t0, t1, ... in file order."""
    for place, template in enumerate(subject.set.templates):
        if template.id != f"t{place}":
            yield template.id, f"is number {place} in the file: call it t{place}"


@rule("unknown-field")
def unknown_field(subject: Subject) -> Found:
    """Holes name fields that the dataset has."""
    known = {*subject.dataset.fields, ANSWER} | ({OPTIONS} if subject.has_options else set())
    for where, text in subject.texts():
        for name in dict.fromkeys(text.names):
            if name not in known:
                yield where, f"{{{name}}} is no field of the dataset; it has {sorted(known)}"


@rule("unused-field")
def unused_field(subject: Subject) -> Found:
    """Each field of the dataset is used somewhere."""
    used = {name for _, text in subject.texts() for name in text.names}
    for name in subject.dataset.fields:
        if name not in used:
            yield WHOLE_FILE, f"no template uses {{{name}}}: use it or drop it from `fields`"


@rule("no-content")
def no_content(subject: Subject) -> Found:
    """An input shows something of the example besides options."""
    for template in subject.set.templates:
        # Turned around, the answer is content: "Write a {answer} review."
        inverted_content = template.kind == "inverted" and ANSWER in template.input.names
        if not content_names(template) and not inverted_content:
            yield template.id, "shows nothing of the example: add a field"
    for where, text in ((PLAIN, subject.set.plain), (BASELINE, subject.set.baseline.input)):
        if not set(text.names) - {OPTIONS, ANSWER}:
            yield where, "shows nothing of the example: add a field"


@rule("forward-target")
def forward_target(subject: Subject) -> Found:
    """A template that evaluation uses has the answer as its target."""
    for template in subject.set.forward:
        if template.target.source != f"{{{ANSWER}}}":
            yield (
                template.id,
                f"target {template.target.source!r} is not '{{answer}}', so evaluation would "
                "score something else: say kind: inverted, or make the answer the target",
            )


@rule("answer-in-input")
def answer_in_input(subject: Subject) -> Found:
    """A forward input does not name the answer."""
    inputs = [(t.id, t.input) for t in subject.set.forward]
    inputs += [(PLAIN, subject.set.plain), (BASELINE, subject.set.baseline.input)]
    for where, text in inputs:
        if ANSWER in text.names:
            yield where, "gives {answer} away in the input of a forward template: take it out"


@rule("inverted-count")
def inverted_count(subject: Subject) -> Found:
    """At most 3 templates turn the task around."""
    inverted = [t.id for t in subject.set.templates if t.kind == "inverted"]
    if len(inverted) > MAX_INVERTED:
        yield WHOLE_FILE, f"{len(inverted)} inverted templates ({inverted}); at most {MAX_INVERTED}"


@rule("inverted-target")
def inverted_target(subject: Subject) -> Found:
    """An inverted target is a part of the example that its input hides."""
    for template in subject.set.templates:
        if template.kind != "inverted":
            continue
        names = template.target.names
        if not names:
            yield template.id, "its target holds nothing of the example: name a field in it"
        elif set(names) <= {ANSWER}:
            yield template.id, "its target is the answer, so it is no inverted template"
        for name in dict.fromkeys(names):
            if name in template.input.names:
                yield template.id, f"its target {{{name}}} stands in its input already"
        if OPTIONS in template.input.names and subject.dataset.options:
            yield template.id, "shows {options}, which its target does not choose from"
