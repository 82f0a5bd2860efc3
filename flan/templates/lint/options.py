"""The OPTIONS block, and the words that options are given in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from flan.templates.lint.rule import BASELINE, WHOLE_FILE, Subject, rule
from flan.templates.template import OPTIONS_HEADER

Found = Iterator[tuple[str, str]]

_HOLE = "{options}"

# Words that say which side an option is on; what has none of them has no side.
_YES = {"yes", "true", "correct", "right", "positive", "good", "entailment", "acceptable"}
_NO = {"no", "false", "incorrect", "wrong", "negative", "bad", "contradiction", "unacceptable"}
_NO |= {"not", "cannot", "never"}
_UNDECIDED = re.compile(
    r"\b(?:can['’]t (?:tell|say)|cannot (?:tell|say|be sure)|maybe|perhaps|neither|neutral|unclear|"
    r"uncertain|undecid\w+|unresolved|unproven|not (?:settled|enough|necessarily)|may or may not)\b",
    re.I,
)


def worded(subject: Subject) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where options are worded, and how: the dataset, templates, the baseline."""
    if subject.dataset.options:
        yield WHOLE_FILE, subject.dataset.options
    yield from ((t.id, t.options) for t in subject.set.templates if t.options)
    if subject.set.baseline.options:
        yield BASELINE, subject.set.baseline.options


@rule("missing-options")
def missing_options(subject: Subject) -> Found:
    """A forward template of a task with options shows them."""
    if subject.has_options:
        for template in subject.set.forward:
            if "options" not in template.input.names:
                yield template.id, "lacks {options}: the reader cannot know the choices"


@rule("options-place")
def options_place(subject: Subject) -> Found:
    """{options} stands once, on a line of its own."""
    for where, text in subject.inputs():
        places = [i for i, name in enumerate(text.names) if name == "options"]
        if len(places) > 1:
            yield where, "shows {options} more than once"
        for place in places:
            before, after = text.pieces[2 * place], text.pieces[2 * place + 2]
            starts = before.endswith("\n") if place or before else True
            ends = after.startswith("\n") if after or 2 * place + 3 < len(text.pieces) else True
            if not (starts and ends):
                yield where, f"{_HOLE} shares a line with other text: give it its own"
        if OPTIONS_HEADER in text.source:
            yield where, f"writes {OPTIONS_HEADER!r} itself: {_HOLE} brings the header along"


@rule("options-count")
def options_count(subject: Subject) -> Found:
    """Own options match the dataset's, one for one."""
    dataset = subject.dataset
    if dataset.labels and len(dataset.labels) != len(dataset.options):
        yield WHOLE_FILE, f"{len(dataset.options)} options for {len(dataset.labels)} labels"
    for where, options in worded(subject):
        if dataset.task_type != "classification":
            yield where, f"words options of its own; those of a {dataset.task_type} row differ"
        elif len(options) != len(dataset.options):
            yield (
                where,
                f"words {len(options)} options {list(options)}, the dataset has "
                f"{len(dataset.options)}: {list(dataset.options)}",
            )


@rule("options-distinct")
def options_distinct(subject: Subject) -> Found:
    """No two options are the same but for case and spaces."""
    for where, options in worded(subject):
        seen: dict[str, str] = {}
        for option in options:
            key = " ".join(option.split()).casefold()
            if key in seen:
                yield where, f"options {seen[key]!r} and {option!r} are the same but for case"
            seen[key] = option


@rule("options-text")
def options_text(subject: Subject) -> Found:
    """An option is one line without spaces around it."""
    for where, options in worded(subject):
        for option in options:
            if not option.strip() or option != option.strip() or "\n" in option:
                yield where, f"option {option!r} is empty, padded or broken over lines"


@rule("options-order")
def options_order(subject: Subject) -> Found:
    """Own options stand in label order."""
    default = subject.dataset.options
    for where, options in worded(subject):
        if len(options) != len(default) or options == default:
            continue
        lowered = [o.casefold() for o in options]
        expected = [o.casefold() for o in default]
        if lowered != expected and sorted(lowered) == sorted(expected):
            yield where, f"options {list(options)} are in another order than {list(default)}"


@rule("options-side")
def options_side(subject: Subject) -> Found:
    """Affirming, denying and undecided options answer for labels of their own kind."""
    default = [_side(option) for option in subject.dataset.options]
    if not {"yes", "no"} <= set(default) or "" in default:
        return
    swapped = [{"yes": "no", "no": "yes"}.get(side, side) for side in default]
    for where, options in worded(subject):
        sides = [_side(option) for option in options]
        if sides == default or sorted(sides) != sorted(default):
            continue
        if sides != swapped or not _asks_reversed(subject, where):
            yield (
                where,
                f"options {list(options)} are {sides} where the dataset's "
                f"{list(subject.dataset.options)} are {default}: put them in label order",
            )


def _asks_reversed(subject: Subject, where: str) -> bool:
    """Whether the text asks the opposite question ("do they differ?"), which swaps the sides."""
    text = next((t.source for at, t in subject.inputs() if at == where), "")
    return bool(
        re.search(
            r"\b(?:differ\w*|disagree\w*|contradict\w*|incorrect|invalid|wrong|errors?|mistakes?|"
            r"chang\w+|unlike|fails?)\b",
            text,
            re.I,
        )
    )


def _side(option: str) -> str:
    """`yes`, `no` or `undecided`; empty where the words do not tell."""
    if _UNDECIDED.search(option):
        return "undecided"
    words = re.findall(r"[a-z']+", option.casefold())
    if any(w in _NO or w.endswith("n't") for w in words):
        return "no"
    return "yes" if any(w in _YES for w in words) else ""


def tokens_of(option: str) -> list[str]:
    """Words and marks, the coarsest tokens that any vocabulary splits a text into."""
    return re.findall(r"\w+|[^\w\s]", option)


@rule("option-prefix")
def option_prefix(subject: Subject) -> Found:
    """No option begins another, token by token."""
    for where, options in worded(subject):
        encoded: dict[str, Sequence[object]] = {o: tokens_of(o) for o in options}
        yield from ((where, m) for m in _prefixes(encoded, "words"))
        if subject.encode:
            encoded = {o: tuple(subject.encode(o)) for o in options}
            yield from ((where, m) for m in _prefixes(encoded, "tokens"))


def _prefixes(encoded: dict[str, Sequence[object]], unit: str) -> Iterator[str]:
    for a, b in itertools.permutations(encoded, 2):
        if len(encoded[a]) < len(encoded[b]) and encoded[b][: len(encoded[a])] == encoded[a]:
            yield f"option {a!r} begins option {b!r} in {unit}: word them apart from the start"


@rule("options-tokens")
def options_tokens(subject: Subject) -> Found:
    """A vocabulary can tell the options apart."""
    if not subject.encode:
        return
    for where, options in worded(subject):
        seen: dict[tuple[int, ...], str] = {}
        for option in dict.fromkeys(options):
            ids = tuple(subject.encode(option))
            if not ids:
                yield where, f"option {option!r} has no token in this vocabulary"
            elif ids in seen:
                yield where, f"options {seen[ids]!r} and {option!r} are the same tokens"
            seen[ids] = option
