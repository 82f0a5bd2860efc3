"""Whether plain values, from gin or from JSON, are of a type annotation."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any

_NONE = type(None)
_LISTS = (collections.abc.Sequence, list)
_DICTS = (collections.abc.Mapping, dict)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotation; of one that is not understood anything is."""
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return any(fits(value, part) for part in of)
    if origin in _LISTS or (origin is tuple and of[1:] == (...,)):
        # A string is a sequence, too: of its letters, which nobody means.
        return isinstance(value, list | tuple) and all(fits(v, of[0]) for v in value)
    if origin in _DICTS:
        return isinstance(value, dict) and all(
            fits(k, of[0]) and fits(v, of[1]) for k, v in value.items()
        )
    if not isinstance(hint, type) or origin or hint is Any or getattr(hint, "_is_protocol", False):
        return True
    if isinstance(value, bool):  # and so an int to Python
        return hint in (bool, object)
    return isinstance(value, (float, int) if hint is float else hint)


def described(hint: Any) -> str:
    """An annotation in words: `a list of int or None`."""
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return " or ".join(map(described, of))
    if origin in _LISTS or (origin is tuple and of[1:] == (...,)):
        return f"a list of {described(of[0])}"
    if origin in _DICTS:
        return f"a dict of {described(of[0])} to {described(of[1])}"
    names = {_NONE: "None", float: "float or int", Any: "anything"}
    return str(names.get(hint) or getattr(hint, "__name__", hint))
