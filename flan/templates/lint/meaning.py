"""Whether the text asks what the answer answers, and points at what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flan.templates.lint.rule import Subject, rule
from flan.templates.lint.structure import content_names
from flan.templates.lint.wording import HOLE, written
from flan.templates.template import Template

Found = Iterator[tuple[str, str]]

_CHOICES = "options?|choices?|answers?|alternatives?|labels?|categor(?:y|ies)|candidates?|endings?|continuations?"
# "Above the story" is a preposition, no pointer.
_NO_POINTER = r"(?!\s+(?:the|a|an|all|it|its|this|that|your|average|zero)\b)"
_AHEAD = re.compile(rf"\b(?:the following|below{_NO_POINTER}|underneath{_NO_POINTER})\b", re.I)
_BACK = re.compile(rf"\b(?:above{_NO_POINTER}|the preceding|the foregoing|the previous)\b", re.I)
_WHICH_OF = re.compile(r"\b(?:which|one|any|none) of \Z", re.I)


@rule("points-at-nothing")
def points_at_nothing(subject: Subject) -> Found:
    """'The following' has something after it, 'above' something before."""
    for template in subject.set.templates:
        pieces = template.input.pieces
        for place in range(0, len(pieces), 2):
            literal = pieces[place]
            ahead, back = pieces[place + 1 :: 2], pieces[1:place:2]
            for match in _AHEAD.finditer(literal):
                noun = re.match(r"(?:\s+\w+){0,3}", literal[match.end() :])
                of_choices = (
                    _WHICH_OF.search(literal[: match.start()])
                    or re.search(rf"\b(?:{_CHOICES})\b", noun.group() if noun else "", re.I)
                    # "Pick one below": nothing but the choices can be meant.
                    or not match.group().lower().startswith("the")
                )
                if not (ahead if of_choices else [n for n in ahead if n != "options"]):
                    yield template.id, f"says {match.group()!r}, but no field comes after it"
            if not back and (behind := _BACK.search(literal)):
                yield template.id, f"says {behind.group()!r}, but no field comes before it"


_ASK = (
    r"\b(?:write|generate|create|compose|pose|formulate|invent|ask|produce|suggest|make up|"
    r"come up with|think of|what is|what's|what could be)\s+(?:me\s+)?(?:a|an|one|some|any)\s+"
    r"(?:\w+\s+){0,2}?"
)


@rule("asks-for-input")
def asks_for_input(subject: Subject) -> Found:
    """A forward template does not ask for what it shows."""
    """Such a text wants a question written and has the answer to one as its target."""
    for template in subject.set.forward:
        for name in dict.fromkeys([*content_names(template), "question"]):
            noun = re.sub(r"[_\d]+", " ", name).split()[-1:]
            if not noun or (name not in subject.dataset.fields and not _asks(subject)):
                continue
            if match := re.search(rf"{_ASK}{noun[0]}s?\b", written(template.input), re.I):
                yield (
                    template.id,
                    f"asks to {match.group()!r}, but its target is the answer: say what is "
                    f"wanted, or make it inverted with target {{{name}}}",
                )


def _asks(subject: Subject) -> bool:
    return any("question" in name for name in subject.dataset.fields)


@rule("wrong-label")
def wrong_label(subject: Subject) -> Found:
    """A label names the field after it."""
    fields = {_squash(name): name for name in subject.dataset.fields}
    for where, text in subject.inputs():
        for literal, hole in zip(text.pieces[::2], text.names, strict=False):
            match = re.search(r"([\w ]{2,30}):\s*[\"“]?\Z", literal)
            named = fields.get(_squash(match.group(1))) if match else None
            if named and named != hole:
                yield where, f"labels {{{hole}}} as {match.group(1).strip()!r}"  # type: ignore[union-attr]


def _squash(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


_GIVEN = r"\b(?:if|given|from|based on|assuming|suppose|knowing|granted)(?: that)?:?\s*[\"“]?"
_LEADS = r"\b(?:entails?|impl(?:y|ies)|means?|proves?|supports?|confirms?|leads? to)\b"
_CONCLUDE = r"\b(?:conclude|infer|deduce|follows?|derive)\b"


@rule("direction")
def direction(subject: Subject) -> Found:
    """What follows is the hypothesis, what it follows from the premise."""
    if not {"premise", "hypothesis"} <= set(subject.dataset.fields):
        return
    for template in subject.set.templates:
        text = template.input.source
        reversed_ = (
            re.search(rf"{_GIVEN}\{{hypothesis\}}", text, re.I)
            or re.search(
                rf"\{{hypothesis\}}[^{{}}.?!\n]*{_LEADS}[^{{}}.?!\n]*\{{premise\}}", text, re.I
            )
            or re.search(rf"{_CONCLUDE}(?: that)?:?\s*[\"“]?\{{premise\}}", text, re.I)
        )
        if reversed_:
            yield template.id, f"concludes the premise from the hypothesis: {reversed_.group()!r}"


_AUXILIARY = (
    r"(?:is|are|was|were|do|does|did|can|could|may|might|must|should|would|will|has|have|had)"
    r"(?:n['’]t)?"
)
_POLAR = re.compile(
    rf"(?:\A|[.?!:,;—–(\n\"“]\s*|\b(?:and|so|or|then|but)\s+)(?:{_AUXILIARY})\s[^?.]*\?", re.I
)
_DECIDE = re.compile(
    r"\b(?:whether|if|true|correct|right|agree|so|yes|possible|the case|hold|holds|really)\b", re.I
)
_FIRST_WORDS = {"yes", "no", "true", "false", "maybe", "perhaps", "possibly", "it", "it's", "they"}
_FIRST_WORDS |= {"neither", "both", "definitely", "certainly", "impossible", "unknown", "correct"}
_FIRST_WORDS |= {"incorrect", "not", "never", "always", "probably", "cannot", "can't"}


def first_words(options: tuple[str, ...]) -> list[str]:
    """The first word of each option, in lower case."""
    return [(re.findall(r"[a-z']+", o.casefold()) or [""])[0] for o in options]


@rule("options-question")
def options_question(subject: Subject) -> Found:
    """Options answer the question that is asked."""
    for template, options in subject.forward_options():
        text = written(template.input)
        firsts = first_words(options)
        for one, two in (("yes", "no"), ("true", "false")):
            offered = re.search(rf"\b{one}\b[\"”]?,? (?:or|and) [\"“]?\b{two}\b", text, re.I)
            if offered and not {one, two} <= set(firsts):
                yield template.id, f"says {offered.group()!r}, but offers {list(options)}"
        lowered = {o.casefold().rstrip(".") for o in options}
        asks = _POLAR.search(text) or _DECIDE.search(text)
        shows_question = any("question" in name for name in template.input.names)
        if lowered <= {"yes", "no", "maybe"} and not asks and not shows_question:
            yield template.id, f"asks no question that {list(options)} answer"
        if _only_polar(template, text) and not _answers_polar(options, firsts):
            named = [o for o in options if o.casefold().rstrip(".") in text.casefold()]
            if len(named) < 2:
                yield template.id, f"asks a yes-or-no question, but offers {list(options)}"


def _only_polar(template: Template, text: str) -> bool:
    """Whether the last question is a yes-or-no one, with no alternatives named in it."""
    if any("question" in name for name in template.input.names):
        return False
    questions = re.findall(r"[^.?!\n]*\?", text.replace(HOLE, "X"))
    last = questions[-1].strip().strip('"“”') if questions else ""
    return bool(re.match(rf"{_AUXILIARY}\s", last, re.I)) and not re.search(r"\bor\b", last)


def _answers_polar(options: tuple[str, ...], firsts: list[str]) -> bool:
    return any(w in _FIRST_WORDS for w in firsts) or any(len(o.split()) > 3 for o in options)
