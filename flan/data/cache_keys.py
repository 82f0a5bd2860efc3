"""What a cache's content depends on, hashed into its name: a stale cache cannot be found.

An identity is a JSON object with everything that decides the content; its SHA-256 is the
key. Changing one template changes the keys of that dataset's token caches and of no other.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import re
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Dataset, Source
from flan.catalog.splits import Slice

Identity = dict[str, Any]
# Raise these when the code that writes a cache changes what it writes.
ROWS_VERSION = 2
TOKENS_VERSION = 1


def key_of(identity: Identity) -> str:
    """SHA-256 in hex of an identity."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def cache_folder(cache_dir: Path, kind: str, identity: Identity) -> Path:
    """`<cache_dir>/<kind>/<dataset>/<source>-<split>-<16 digits of the key>`."""
    name = f"{identity['source']}-{identity['split']}-{key_of(identity)[:16]}"
    return cache_dir / kind / identity["dataset"] / name


def rows_identity(
    dataset: Dataset, source: Source, split: str, piece: Slice, data_fingerprint: str
) -> Identity:
    """What decides the fields of a source's split.

    Args:
      piece: which TFDS rows the split is.
      data_fingerprint: names the TFDS folder's content.
    """
    return {
        "version": ROWS_VERSION,
        "dataset": dataset.name,
        "source": source.name,
        "split": split,
        "tfds": source.tfds_name,
        "slice": piece.tfds,
        "data": data_fingerprint,
        "to_fields_version": dataset.version,
        "to_fields": code_fingerprint(dataset.to_fields),
    }


@functools.lru_cache(maxsize=1024)
def code_fingerprint(function: Callable[..., Any]) -> str:
    """SHA-256 of what a function does: its code and the project's functions and constants in it.

    Comments, docstrings, decorators and layout do not count. Functions of other packages
    count by name only.
    """
    parts: dict[str, str] = {}
    package = function.__module__.partition(".")[0]
    _collect(function, parts, {package, "flan"})
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _collect(function: Any, parts: dict[str, str], packages: set[str]) -> None:
    function = inspect.unwrap(function)
    name = f"{function.__module__}.{function.__qualname__}"
    if name in parts:
        return
    parts[name] = _source(function)
    names = set(_names(function.__code__))
    free = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    values = {key: cell.cell_contents for key, cell in free}
    values |= {key: function.__globals__[key] for key in names if key in function.__globals__}
    for key, value in values.items():
        if isinstance(value, types.ModuleType) and _is_ours(value.__name__, packages):
            for attribute in names & vars(value).keys():
                _note(f"{name}:{key}.{attribute}", getattr(value, attribute), parts, packages)
        else:
            _note(f"{name}:{key}", value, parts, packages)


def _note(label: str, value: Any, parts: dict[str, str], packages: set[str]) -> None:
    unwrapped = inspect.unwrap(value) if callable(value) else value
    if isinstance(unwrapped, types.FunctionType):
        if _is_ours(unwrapped.__module__, packages):
            _collect(unwrapped, parts, packages)
    elif (stable := _stable(value)) is not None:
        parts[label] = stable


def _is_ours(module: str, packages: set[str]) -> bool:
    return module.partition(".")[0] in packages


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _stable(value: Any) -> str | None:
    """A constant as text that is the same in each process; None for what is no constant."""
    if value is None or isinstance(value, str | int | float | bytes):
        return repr(value)
    if isinstance(value, re.Pattern):
        return repr((value.pattern, value.flags))
    if isinstance(value, tuple | list):
        return str([_stable(v) for v in value])
    if isinstance(value, set | frozenset):
        return str(sorted(str(_stable(v)) for v in value))
    if isinstance(value, dict):
        return str([(_stable(k), _stable(v)) for k, v in value.items()])
    return None


def _source(function: types.FunctionType) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # made by exec, or a lambda amid an expression
        code = function.__code__
        return repr((code.co_code, [c for c in code.co_consts if not hasattr(c, "co_code")]))
    node = tree.body[0]
    if isinstance(node, ast.FunctionDef):
        node.decorator_list = []
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.unparse(tree)
