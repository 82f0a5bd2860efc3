"""Text repairs that several datasets need, so that templates meet text as people write it."""

from __future__ import annotations

import re

_BRACKETS = {
    "-lrb-": "(",
    "-rrb-": ")",
    "-lsb-": "[",
    "-rsb-": "]",
    "-lcb-": "{",
    "-rcb-": "}",
}
_BRACKET = re.compile("|".join(_BRACKETS), re.IGNORECASE)
_CLITIC = re.compile(r" (n't|'(?:s|m|d|re|ve|ll))\b", re.IGNORECASE)
_TIME = re.compile(r"(?<=\d) : (?=\d\d\b)")
_CLOSING = re.compile(r" ([,;:%)\]}]|[.?!]+|'')(?=\s|$)")
_CLOSING_APOSTROPHE = re.compile(r" '(?=\s|$)")
_OPENING = re.compile(r"(?:(?<=\s)|^)([(\[{$#]|``|`) ")
_DOUBLE_QUOTE = re.compile(r"(?:(?<=\s)|^)\"(?=\s|$)")

# Bytes 0x80-0x9f of Windows text that was read as Latin-1: dashes, curly quotes, the ellipsis.
_WINDOWS = {
    code: bytes([code]).decode("cp1252", errors="ignore") or None for code in range(0x80, 0xA0)
}


def detokenize(text: str) -> str:
    r"""Undoes Penn Treebank tokenization; text that is not tokenized stays as it is.

    Rejoins punctuation, brackets, contractions and quotation marks:
    "`` It 's late , '' he said ( again ) ." -> '"It\'s late," he said (again).'
    Straight double quotes that stand alone open and close in turn. A hyphen between
    spaces stays, since it may be a dash.
    """
    text = _BRACKET.sub(lambda match: _BRACKETS[match[0].lower()], " ".join(text.split()))
    text = _CLITIC.sub(r"\1", text)
    text = _TIME.sub(":", text)
    text = _join_double_quotes(text)
    text = _CLOSING.sub(r"\1", text)
    text = _CLOSING_APOSTROPHE.sub("'", text)
    text = _OPENING.sub(r"\1", text)
    return text.replace("``", '"').replace("''", '"').replace("`", "'")


def _join_double_quotes(text: str) -> str:
    """Turns lone `"` into the Treebank's pair, opening and closing in turn."""
    opening = False

    def turn(match: re.Match[str]) -> str:
        nonlocal opening
        opening = not opening
        return "``" if opening else "''"

    return _DOUBLE_QUOTE.sub(turn, text)


def repair_windows_characters(text: str) -> str:
    r"""Replaces C1 control characters by what they mean in Windows-1252 ("\x97" -> "—")."""
    return text.translate(_WINDOWS)


def shorten(text: str, limit: int = 3_600) -> str:
    """Cuts the middle out of text longer than `limit` characters, at spaces, marked "[...]".

    An example's input keeps its first 1,023 tokens, so without this a long review would
    push the question and the options out. 3,600 characters of English are roughly 850
    tokens. Both ends stay, because reviews often give their verdict last.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    head, _, _ = text[:half].rpartition(" ")
    _, _, tail = text[-half:].partition(" ")
    return f"{head or text[:half]} [...] {tail or text[-half:]}"
