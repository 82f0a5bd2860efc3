"""Questions as people write them, out of search queries and spreadsheet exports."""

from __future__ import annotations

import re

# Queries end in zero-width spaces, which `str.strip` keeps.
_BLANK = " \t\r\n\u00a0\u200b"
_SPACED_MARK = re.compile(r" \?$")
_COMMAND = re.compile(r"(?:describe|explain|give|list|name|state|tell)\b", re.IGNORECASE)


def as_question(query: str) -> str:
    """A search query as a written question: a capital, and exactly one question mark.

    `who built the wall ` and `Who built the wall??` both become `Who built the wall?`.
    """
    query = query.strip(_BLANK).rstrip(_BLANK + "?")
    return f"{query[:1].upper()}{query[1:]}?"


def unquote_cell(text: str) -> str:
    """Undoes the quoting of a CSV cell; text that is not quoted so stays as it is.

    `"Who wrote ""Emma""?"` becomes `Who wrote "Emma"?`.
    """
    text = text.strip(_BLANK)
    inner = text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"').strip(_BLANK)
    return text


def finish_question(text: str) -> str:
    """The question on one line, with an end mark where it ends without punctuation.

    `Which river flows through Vienna` gains a question mark, `Name the river` a full stop.
    """
    text = _SPACED_MARK.sub("?", " ".join(text.replace("\u200b", " ").split()))
    finished = text.rstrip("\"')]”’").endswith((".", "?", "!", ":"))
    if finished:
        return text
    return f"{text}." if _COMMAND.match(text) else f"{text}?"
