"""Gin, kept at the edge: names for our dataclasses, files by path, bindings from flags.

Nothing below `flan.cli` and this module knows gin. Configurables are registered under the
names that gin files use (`ModelConfig`, `OptimizerConfig`, ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gin

from flan.resources import resource_dir
from flan.suggest import unknown_name

_NAME = re.compile(r"[A-Za-z_][\w./]*")


def register(configurables: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Makes classes and functions known to gin; returns their configurable versions by name."""
    return {
        name: gin.external_configurable(target, name=name, module="flan")
        for name, target in configurables.items()
    }


def parse(files: Sequence[str], bindings: Sequence[str]) -> None:
    """Parses gin files and `NAME=VALUE` bindings, later ones winning.

    A file is looked for as it is given, then beside the shipped `configs`. A value that is
    no gin literal is a string: `MODEL_DIR=/tmp/run` needs no quotes.

    Raises:
      FileNotFoundError: there is no such file; names near ones.
      ValueError: a file or binding that gin cannot read, or that sets something unknown.
    """
    gin.clear_config()
    root = resource_dir("configs").parent
    gin.add_config_file_search_path(str(root))
    paths = [str(_find(name, root)) for name in files]
    try:
        gin.parse_config_files_and_bindings(paths, [], finalize_config=False)
        for binding in bindings:
            gin.parse_config(_statement(binding))
        gin.finalize()
    except (ValueError, SyntaxError, OSError, RuntimeError) as error:
        raise ValueError(f"gin: {' '.join(str(error).split())}") from error


def _find(name: str, root: Path) -> Path:
    for candidate in (Path(name), root / name, root / "configs" / name):
        if candidate.is_file():
            return candidate
    shipped = sorted(str(p.relative_to(root)) for p in (root / "configs").rglob("*.gin"))
    raise FileNotFoundError(unknown_name("gin file", name, shipped))


def _statement(binding: str) -> str:
    """`NAME=VALUE` as gin text, VALUE quoted where it is no literal."""
    name, separator, value = binding.partition("=")
    name, value = name.strip(), value.strip()
    if not separator or not _NAME.fullmatch(name):
        raise ValueError(f"binding {binding!r} is not of the form NAME=VALUE")
    if "." not in name:
        known = macros()
        if name not in known:
            raise ValueError(unknown_name("setting", name, sorted(known)))
    try:
        gin.config.parse_value(value)
    except (SyntaxError, ValueError):
        value = repr(value)
    return f"{name} = {value}"


def build(configurable: Callable[..., Any]) -> Any:
    """Calls a configurable with its gin settings; ValueError for a required one that is missing."""
    try:
        return configurable()
    except (TypeError, RuntimeError, ValueError) as error:
        # Gin appends where in which file a value was used: keep the sentence before it.
        message = str(error).strip().splitlines()
        text = next((line for line in message if line.strip()), type(error).__name__)
        if "REQUIRED" in str(error):
            text = f"{text} (set it with --gin.NAME=VALUE; MODEL_DIR is the usual one)"
        raise ValueError(f"gin: {text.strip()}") from error


def macros() -> set[str]:
    """Names of the macros that the parsed files set."""
    # Gin keeps a macro NAME as a binding of NAME/gin.macro and offers no listing.
    return {scope for scope, selector in gin.config._CONFIG if selector == "gin.macro"}


def split_bindings(argv: Sequence[str]) -> list[str]:
    """Rewrites T5X-style flags for argparse: `--gin.NAME=VALUE` -> `--gin_bindings`, `NAME=VALUE`.

    `--gin.NAME VALUE`, in two arguments, is understood too.
    """
    rewritten: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if not argument.startswith("--gin."):
            rewritten.append(argument)
            continue
        binding = argument.removeprefix("--gin.")
        if "=" not in binding:
            value = next(rest, None)
            if value is None:
                raise ValueError(f"{argument} lacks a value: write {argument}=VALUE")
            binding = f"{binding}={value}"
        rewritten += ["--gin_bindings", binding]
    return rewritten


def operative_config() -> str:
    """What was set and used, as gin text that reproduces it."""
    return gin.operative_config_str()
