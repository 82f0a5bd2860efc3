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
# An apostrophe with a space on the wrong side, or on both: "I ' m", "O 'Brien".
_LOOSE_APOSTROPHE = re.compile(
    r"(?<=\w) ' (?=(?:m|ve|re|ll)\b)|(?<=\b[iI]) ' (?=d\b)|(?<=\b[DLOdlo]) '(?=[A-Za-z]{2})"
)
# "did n ' t", "didn 't", "didn ' t"; not "van 't Hoff".
_LOOSE_NOT = re.compile(r"\b(ai|are|ca|do|have|sha|were|wo|\w+[dst]) ?(n) ?' ?(t)\b", re.IGNORECASE)
_CLITIC = re.compile(r" (n't|'(?:s|m|d|re|ve|ll))\b", re.IGNORECASE)
_SPLIT_WORD = re.compile(
    r"\b(?:(can) (not)(?! (?:just|only)\b)|(gon|wan) (na)|(got) (ta))\b", re.IGNORECASE
)
_TIME = re.compile(r"(?<=\d) : (?=\d\d\b)")
_CLOSING = re.compile(r" ([,;:%)\]}]|[.?!]+|'')(?=\s|$)")
_CLOSING_APOSTROPHE = re.compile(r" '(?=\s|$|[.,;:?!)\]])")
_OPENING = re.compile(r"(?:(?<=\s)|^)([(\[{$#]|``|`) ")
_DOUBLE_QUOTE = re.compile(r"(?:(?<=\s)|^)(?:\"|' ')(?=\s|$)")
# A word that opens a single quotation; a clitic or a year ('n', '90s) does not.
_OPENS = re.compile(r"(?:`|')(?!['`]|(?:s|m|d|t|re|ve|ll|em|n)\b|\d0'?s\b)", re.IGNORECASE)
# After other words in -s a lone apostrophe marks a plural's possessive: "the boys ' toys".
_NO_PLURALS = {"as", "does", "has", "his", "is", "its", "says", "this", "us", "was", "yes"}


def detokenize(text: str) -> str:
    r"""Undoes Penn Treebank tokenization; text that is not tokenized stays as it is.

    Rejoins punctuation, brackets, contractions and quotation marks:
    "`` It 's late , '' he said ( again ) ." -> '"It\'s late," he said (again).'
    Straight quotation marks that stand alone open and close in turn. A hyphen between
    spaces stays, since it may be a dash.
    """
    text = _BRACKET.sub(lambda match: _BRACKETS[match[0].lower()], " ".join(text.split()))
    text = _LOOSE_APOSTROPHE.sub("'", text.replace("\\/", "/"))
    text = _LOOSE_NOT.sub(r"\1\2'\3", text)
    text = _CLITIC.sub(r"\1", text)
    text = _SPLIT_WORD.sub(lambda match: match[0].replace(" ", ""), text)
    text = _TIME.sub(":", text)
    text = _open_single_quotes(_join_double_quotes(text))
    text = _CLOSING.sub(r"\1", text)
    text = _CLOSING_APOSTROPHE.sub("'", text)
    text = _OPENING.sub(r"\1", text)
    return straight_quotes(text).replace("`", "'")


# What only tokenized text has: a clitic or a mark that stands alone, the names of brackets.
_TOKENIZED = re.compile(
    r"(?:^|\s)(?:``|'')\s| (?:n't|'(?:s|m|d|re|ve|ll))\b|-[LR][CRS]B-|\w [.,;?!](?:\s|$)"
)


def detokenize_lines(text: str) -> str:
    """Detokenizes the lines that look tokenized, of texts that are so in part."""
    return "\n".join(
        detokenize(line) if _TOKENIZED.search(line) else line for line in text.split("\n")
    )


def straight_quotes(text: str) -> str:
    """Turns the quotation marks of LaTeX and the Treebank, ``...'', into straight ones."""
    return text.replace("``", '"').replace("''", '"')


def _join_double_quotes(text: str) -> str:
    """Turns lone `"` into the Treebank's pair, opening and closing in turn."""
    opening = False

    def turn(match: re.Match[str]) -> str:
        nonlocal opening
        opening = not opening
        return "``" if opening else "''"

    return _DOUBLE_QUOTE.sub(turn, text)


def _open_single_quotes(text: str) -> str:
    """Turns a lone `'` that opens a quotation into the Treebank's "`"; others close, or possess."""
    words = text.split(" ")
    inside = False
    for place, word in enumerate(words):
        if word != "'":
            inside = (inside or bool(_OPENS.match(word))) and not word.endswith("'")
        elif inside:
            inside = False
        elif "'" in words[place + 1 :] and not _is_plural(words[place - 1] if place else ""):
            words[place], inside = "`", True
    return " ".join(words)


def _is_plural(word: str) -> bool:
    return word.lower().endswith("s") and word.lower() not in _NO_PLURALS


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
