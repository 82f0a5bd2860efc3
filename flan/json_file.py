"""Reads JSON that others wrote: whatever is wrong with it is a ValueError that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Beyond this a whole number is no float either. (Tokenizers say 10^30 for "no limit".)
_MOST_DIGITS = 300


def read_json(path: Path) -> Any:
    """The value in a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    return parse_json(text, str(path))


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected an object, got {type(value).__name__}")
    return value


def parse_json(text: str, where: str) -> Any:
    """The value in a text that lies at `where`."""
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError(f"{where}: not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{where}: not JSON: {error}") from error


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits ({digits[:20]}...)")
    return int(digits)
