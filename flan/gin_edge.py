"""Gin, kept at the edge: names for our dataclasses, files by path, bindings from flags.

Nothing below `flan.cli` and this module knows gin. Configurables are registered under the
names that gin files use (`ModelConfig`, `OptimizerConfig`, ...).
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import gin

from flan.hints import described, fits
from flan.resources import resource_dir
from flan.suggest import unknown_name

_REGISTERED: dict[str, Callable[..., Any]] = {}
# How gin says that a macro, or a parameter, was left at %gin.REQUIRED.
_REQUIRED = re.compile(r"([\w.]+?)(?:/macro\.value)? set to `%gin\.REQUIRED`")
_NAME = re.compile(r"[A-Za-z_][\w./]*")
# `Configurable.parameter` of each binding of the last `parse`, files left out.
_GIVEN: set[str] = set()


def register(configurables: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Makes classes and functions known to gin; returns their configurable versions by name."""
    return {name: _register(name, target) for name, target in configurables.items()}


@functools.cache  # gin takes a name once
def _register(name: str, target: Callable[..., Any]) -> Callable[..., Any]:
    _REGISTERED[name] = target
    with gin.unlock_config():  # an earlier `parse` has locked it
        return gin.external_configurable(_type_checked(target), name=name, module="flan")


def _type_checked(target: Callable[..., Any]) -> Callable[..., Any]:
    """The same with a ValueError for a setting of another type than its annotation's.

    Without it a word where a number belongs would fail somewhere inside.
    """

    def checked(**settings: Any) -> Any:
        _check_types(target, settings)
        return target(**settings)

    # Gin reads the signature to know which settings there are; all are given by name.
    checked.__signature__ = inspect.signature(target)  # type: ignore[attr-defined]
    checked.__name__ = checked.__qualname__ = target.__name__
    checked.__doc__, checked.__module__ = target.__doc__, target.__module__
    return checked


def _check_types(target: Callable[..., Any], settings: dict[str, Any]) -> None:
    hints = typing.get_type_hints(target)
    for name, value in settings.items():
        hint = hints.get(name, Any)
        if not fits(value, hint):
            raise ValueError(f"{target.__name__}.{name} must be {described(hint)}, got {value!r}")


def parse(files: Sequence[str], bindings: Sequence[str]) -> None:
    """Parses gin files and `NAME=VALUE` bindings, later ones winning.

    A file is looked for as it is given, then beside the shipped `configs`; what it
    includes, beside it as well. A value that is no gin literal is a string:
    `MODEL_DIR=/tmp/run` needs no quotes.

    Raises:
      FileNotFoundError: there is no such file; names near ones.
      ValueError: a file or binding that gin cannot read, or that sets something unknown.
    """
    gin.clear_config()
    _GIVEN.clear()
    root = resource_dir("configs").parent
    paths = [str(_find(name, root)) for name in files]
    folders = dict.fromkeys(str(Path(path).resolve().parent) for path in paths)
    # Gin only lets one add folders, at the end and for good. Its other reader, which looks
    # into Python packages, fails on `configs/`, a folder that is none.
    gin.config._LOCATION_PREFIXES[:] = ["", *folders, str(root)]
    gin.config._FILE_READERS[:] = [(open, os.path.isfile)]
    try:
        gin.parse_config_files_and_bindings(paths, [], finalize_config=False)
        for binding in bindings:
            gin.parse_config(_statement(binding))
            _GIVEN.add(binding.partition("=")[0].strip().removeprefix("flan."))
        gin.finalize()
    except (ValueError, SyntaxError, OSError, RuntimeError) as error:
        if required := _REQUIRED.search(str(error)):
            raise ValueError(f"{required[1]} must be set: add --gin.{required[1]}=VALUE") from error
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
    else:
        _check_parameter(name)
    if value.startswith("%") and value[1:] not in macros() and not value.startswith("%gin."):
        raise ValueError(unknown_name("setting", value[1:], sorted(macros())))
    return f"{name} = {value if _is_literal(value) else repr(value)}"


def _is_literal(value: str) -> bool:
    """Whether gin reads all of it as a value; it would take the 2024 of `2024-run` and choke."""
    try:
        ast.literal_eval(value)
    except (SyntaxError, ValueError):
        if value[:1] in "([{":  # with references in it, perhaps
            try:
                gin.config.parse_value(value)
            except (SyntaxError, ValueError):
                return False
            return bool(value)
        return value[:1] in "@%" and bool(value)
    return True


def _check_parameter(name: str) -> None:
    """ValueError with near names for `Unknown.parameter` and `Configurable.unknown`."""
    selector, _, parameter = name.rpartition("/")[2].removeprefix("flan.").rpartition(".")
    if selector not in _REGISTERED:
        if not gin.config._REGISTRY.matching_selectors(selector):
            raise ValueError(unknown_name("configurable", selector, sorted(_REGISTERED)))
        return
    known = inspect.signature(_REGISTERED[selector]).parameters
    if parameter not in known:
        raise ValueError(unknown_name(f"setting of {selector}", parameter, known))


def build(configurable: Callable[..., Any]) -> Any:
    """Calls a configurable with its gin settings.

    Raises ValueError for what the settings make impossible and for a required one that is
    not set.
    """
    try:
        return configurable()
    except (TypeError, RuntimeError, ValueError) as error:
        # Gin appends the chain of configurables that led there.
        text = " ".join(str(error).strip().split("\n  In call to configurable")[0].split())
        raise ValueError(text) from error


def settings_of(name: str, from_files: Collection[str]) -> dict[str, Any]:
    """What is set of a configurable that nothing calls; it counts as used from then on.

    Args:
      name: of the configurable.
      from_files: parameters that count wherever they are set. All others count where a binding
        set them, not a file: files describe whole objects, which may have been left out.

    Raises ValueError for a value of another type than the parameter's.
    """
    selector = f"flan.{name}"
    bound = {
        parameter: copy.deepcopy(value)  # so gin resolves references in it
        for parameter, value in gin.config._CONFIG.get(("", selector), {}).items()
        if parameter in from_files or f"{name}.{parameter}" in _GIVEN
    }
    _check_types(_REGISTERED[name], bound)
    gin.config._OPERATIVE_CONFIG.setdefault(("", selector), {}).update(bound)
    return bound


def macros() -> set[str]:
    """Names of the macros that the parsed files set."""
    # Gin keeps a macro NAME as a binding of NAME/gin.macro and offers no listing.
    return {scope for scope, selector in gin.config._CONFIG if selector == "gin.macro"}


def macro(name: str) -> Any:
    """The value that the parsed files and bindings give a macro; None where it has none.

    Raises ValueError for one that must be set and is not.
    """
    if name not in macros():
        return None
    value = gin.config._CONFIG[(name, "gin.macro")]["value"]
    if isinstance(value, gin.config.ConfigurableReference):
        raise ValueError(f"{name} must be set: add --gin.{name}=VALUE")
    return value


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
