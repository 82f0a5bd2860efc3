"""Whitespace, lengths, punctuation and markup: cleaning for long texts.

`flan.catalog.cleanup` undoes tokenization, `flan.catalog.encoding` encoding damage.
"""

from __future__ import annotations

import re

_SPACES = re.compile(r"[ \t\u00a0]+")
_BLANK_LINES = re.compile(r"\n\s*\n+")


def squeeze(text: str) -> str:
    """Single spaces, no spaces around line ends, at most one blank line, nothing at either end."""
    lines = (_SPACES.sub(" ", line).strip() for line in text.replace("\r\n", "\n").split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def one_line(text: str) -> str:
    """All whitespace, line ends too, as single spaces."""
    return " ".join(text.split())


def leading_words(text: str, count: int) -> str:
    """The text up to its `count`-th word; unchanged where it has no more than that."""
    words = list(re.finditer(r"\S+", text))
    return text if len(words) <= count else text[: words[count - 1].end()]


def evenly_cut(texts: list[str], total: int) -> list[str]:
    """Non-empty texts, one line each, cut so that they have `total` words between them.

    Short ones stay whole and leave their share to the long ones.
    """
    texts = [line for line in map(one_line, texts) if line]
    lengths = sorted(len(text.split()) for text in texts)
    share = total
    for place, length in enumerate(lengths):
        share = total // (len(lengths) - place)
        if length > share:
            break
        total -= length
    return [leading_words(text, max(share, 1)) for text in texts]


_PUNCTUATION = re.escape(".,;:!?\"'()[]{}“”‘’«»…")
_LOOSE_MARK = re.compile(rf"(?<!\w)[{_PUNCTUATION}]|[{_PUNCTUATION}](?!\w)")
_DASHES = re.compile(r"\s-{1,3}(?=\s)|[–—]|--+")


def strip_punctuation(text: str) -> str:
    """The words alone: punctuation goes, but for marks inside a word or number (don't, e-mail, 3.5)."""
    return one_line(_LOOSE_MARK.sub("", _DASHES.sub(" ", text)))


_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,100}>")


def strip_tags(text: str) -> str:
    """The text without HTML tags."""
    return _TAG.sub("", text)


_ENTITIES = {
    **{"#39": "'", "#145": "'", "#146": "'", "quot": '"', "#147": '"', "#148": '"'},
    **{"amp": "&", "#36": "$", "#150": "–", "#151": "—", "#8212": "—"},
}


def repair_entities(text: str) -> str:
    """Restores HTML entities that lost their ampersand ("city #39;s"); drops tags and backslashes."""
    text = re.sub(r"\\+(?=\$)", "", text).replace("\\", " ")
    text = re.sub(r"&lt;.{0,200}?&gt;|&(?:lt|gt);", " ", text)
    text = _TAG.sub(" ", text)
    text = re.sub(r" #39; #39;(?=\w)", ' "', text).replace(" #39; #39;", '"')
    text = re.sub(r" #39;(?=(?:s|t|d|m|ll|re|ve)\b)", "'", text)  # "city #39;s"
    text = re.sub(r"(?<!\w)#39;(?=\S)(.+?) #39;(?=\W|$)", r"'\1'", text)  # " #39;so #39; he"
    text = re.sub(r"(?<=[A-Z]) amp;(?=[A-Z])", "&", text)  # "AT amp;T"
    text = re.sub(r"(?<=s) #39;(?= )", "'", text)  # "cities #39; parks"
    text = re.sub(r" quot;(.*?) quot;(?= |$|[.,;:?!])", r' "\1"', " " + text)
    return one_line(re.sub(r"&?(#\d+|quot|amp);", lambda m: _ENTITIES.get(m[1], " "), text))
