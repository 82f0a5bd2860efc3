"""One wording for "no such name": what arrived, what is close, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str], limit: int = 80) -> str:
    """Message for an unknown name, with up to three near ones and the known list (cut at `limit`)."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    shown = ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
    return f"unknown {kind} {name!r}.{hint} Known: {shown or '(none)'}"
