"""Spaces, punctuation and stray characters in the text as it was written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from flan.templates.lint.rule import Subject, rule
from flan.templates.template import Text

Found = Iterator[tuple[str, str]]

# A hole written as one character that no template has, so that patterns see it as a word.
HOLE = "\ufffc"

_SPACES = (
    (re.compile(r"\A\s|\s\Z"), "begins or ends with white space"),
    (re.compile(r"[ \t]+\n"), "has spaces at the end of a line"),
    (re.compile(r"\n[ \t]+"), "has spaces at the start of a line"),
    (re.compile(r"\n{3,}"), "has more than one blank line in a row"),
    (re.compile(r"(?<=\S)[ ]{2,}(?=\S)"), "has two spaces in a row"),
    (re.compile(r"\t"), "has a tab"),
    (re.compile(r" [,;.!?)\]](?!\.)"), "has a space before a punctuation mark"),
    (re.compile(r"[(\[] "), "has a space after an opening bracket"),
)

_DOUBLED = re.compile(
    r"(?<!\.)\.\.(?!\.)|\.{4,}|([,;:])\s*[,;:.!?]|[.!?]\s?[,;:]|\?\s?[.?]|![.!]|\.\s[.!?]|\.[!?]"
)

# What a broken "\n" or a slip of the finger leaves behind.
_REMAINS = (
    (re.compile(r"\\[a-z\"']?"), "has a backslash"),
    (re.compile(r"&(?:[a-z]+|#\d+);|</?[a-z]+ ?/?>", re.I), "has a piece of HTML"),
    (re.compile(r"\b(?:TODO|FIXME|XXX|TBD)\b|lorem ipsum"), "has a note to its writer"),
    (re.compile(r"%[sd]\b|\$\{|\{\{|\}\}"), "has a hole of another template language"),
    (re.compile(r"\u00c3.|\u00e2\u20ac.|\ufffd"), "has wrongly decoded characters"),
    (re.compile(r"(?<![\w'’.-])[b-hj-z](?![\w'’.)-])"), "has a letter on its own"),
)
_REPEATED = re.compile(r"\b(?!that\b|had\b)(\w+)\s+\1\b", re.I)

# The marker of a list: a) first, b) second.
_MARKER = re.compile(r"(?<!\w)\w{1,2}\Z")
_PAIRS = {"(": ")", "[": "]", "“": "”", "«": "»"}


def written(text: Text) -> str:
    """The text with each hole as one stand-in character."""
    return HOLE.join(text.pieces[::2])


def _around(text: str, match: re.Match[str]) -> str:
    near = text[max(0, match.start() - 15) : match.end() + 15]
    return repr(near.replace(HOLE, "{…}"))


def _matches(subject: Subject, patterns: tuple[tuple[re.Pattern[str], str], ...]) -> Found:
    for where, text in subject.texts():
        line = written(text)
        for pattern, what in patterns:
            if match := pattern.search(line):
                yield where, f"{what}: {_around(line, match)}"


@rule("spaces")
def spaces(subject: Subject) -> Found:
    """No stray white space."""
    return _matches(subject, _SPACES)


@rule("doubled-punctuation")
def doubled_punctuation(subject: Subject) -> Found:
    """No punctuation mark after another, but for an ellipsis."""
    return _matches(subject, ((_DOUBLED, "has doubled punctuation"),))


@rule("stray-characters")
def stray_characters(subject: Subject) -> Found:
    """Nothing left over from typing, copying or decoding."""
    yield from _matches(subject, _REMAINS)
    for where, text in subject.texts():
        for char in dict.fromkeys("".join(text.pieces[::2])):
            kind = unicodedata.category(char)
            if char != "\n" and (kind[0] == "C" or (kind[0] == "Z" and char != " ")):
                yield where, f"has the unprintable character U+{ord(char):04X}: take it out"


@rule("glued-hole")
def glued_hole(subject: Subject) -> Found:
    """A hole does not touch a word, or another hole."""
    for where, text in subject.texts():
        line = written(text)
        for match in re.finditer(rf"[\w.,;:!?]{HOLE}|{HOLE}(?!s\b)\w|{HOLE}{HOLE}", line):
            yield where, f"a field touches what is beside it: {_around(line, match)}"


@rule("repeated-word")
def repeated_word(subject: Subject) -> Found:
    """No word twice in a row."""
    return _matches(subject, ((_REPEATED, "repeats a word"),))


@rule("unbalanced")
def unbalanced(subject: Subject) -> Found:
    """Quotation marks and brackets come in pairs."""
    for where, text in subject.texts():
        line = written(text)
        if line.count('"') % 2:
            yield where, 'has a quotation mark " without its pair'
        if re.search(r"\u2018", line) and line.count("\u2018") > line.count("\u2019"):
            yield where, "has a quotation mark \u2018 without its pair"
        open_: list[str] = []
        for place, char in enumerate(line):
            if char in _PAIRS:
                open_.append(_PAIRS[char])
            elif char == ")" and not open_ and _MARKER.search(line[:place]):
                continue
            elif char in _PAIRS.values() and (not open_ or open_.pop() != char):
                yield where, f"has {char!r} without its opening"
                break
        else:
            if open_:
                yield where, f"has a bracket or quotation mark without its {open_[-1]!r}"
