"""A hash of what a function does, so that what other code made is not taken for its work.

Counted are its code, and the functions, classes and constants of the project that the code
names, with what these name in turn; closures, default arguments, and what partials, bound
methods and objects hold. Comments, docstrings, decorators and layout do not count, and of
other packages only names do.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import json
import re
import textwrap
import types
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from typing import Any

_ADDRESS = re.compile(r"\b0x[0-9a-f]{4,}")


class UnknownCode(ValueError):
    """Something that a function uses has no content that could be hashed."""


def code_fingerprint(function: Callable[..., Any]) -> str:
    """SHA-256 in hex of what a function does, the same in each process.

    Raises UnknownCode naming what it uses and cannot be hashed, such as an open connection.
    """
    return _cached(function) if isinstance(function, Hashable) else _fingerprint(function)


def module_of(function: Callable[..., Any]) -> str:
    """The module that a function is written in, in whatever partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(function.__module__)


def _fingerprint(function: Callable[..., Any]) -> str:
    code = _Code({module_of(function).partition(".")[0], "flan"})
    found = code.describe(function, "to_fields")
    text = json.dumps([found, code.parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


_cached = functools.lru_cache(maxsize=1024)(_fingerprint)


class _Code:
    """Collects in `parts`, by name, all code that is reached from a value."""

    def __init__(self, packages: set[str]):
        self.parts: dict[str, Any] = {}
        self._packages = packages
        self._names: dict[int, str] = {}  # of the functions and classes in `parts`, by identity
        self._open: set[int] = set()  # what is being described, which may hold itself

    def describe(self, value: Any, where: str) -> str:
        """A text that changes with the value; UnknownCode naming `where` if there is none."""
        if value is None or isinstance(value, str | int | float | complex | bytes | range):
            return repr(value)
        if isinstance(value, re.Pattern):
            return repr((value.pattern, value.flags))
        if isinstance(value, types.ModuleType):
            return value.__name__
        if callable(value) and not isinstance(value, type):
            value = inspect.unwrap(value)
        if isinstance(value, types.FunctionType):
            return self._function(value) if self._is_ours(value) else _full_name(value)
        if isinstance(value, type):
            return self._class(value) if self._is_ours(value) else _full_name(value)
        if id(value) in self._open:
            return "itself"
        self._open.add(id(value))
        try:
            return self._content(value, where)
        finally:
            self._open.remove(id(value))

    def _content(self, value: Any, where: str) -> str:
        def of(*parts: Any) -> str:
            return str([self.describe(part, where) for part in parts])

        if isinstance(value, functools.partial):
            return of(value.func, value.args, value.keywords)
        if isinstance(value, types.MethodType):
            return of(value.__func__, value.__self__)
        if isinstance(value, types.BuiltinFunctionType):
            return _full_name(value) + of(value.__self__)
        if isinstance(value, Mapping):
            return of(*(item for pair in value.items() for item in pair))
        if isinstance(value, Set):
            return str(sorted(map(of, value)))
        if (content := _bytes(value)) is not None:
            return content
        if isinstance(value, Sequence):
            return of(*value)
        if self._is_ours(type(value)):
            return of(type(value), _state(value))
        if type(value) is object:
            return "object"
        text = repr(value)
        if type(value).__repr__ is object.__repr__ or _ADDRESS.search(text):
            raise UnknownCode(f"{where} is {text[:200]}, whose content cannot be hashed")
        return text

    def _function(self, function: types.FunctionType) -> str:
        name, is_new = self._named(function)
        if is_new:
            self.parts[name] = [
                _source(function) or _byte_code(function.__code__),
                self.describe(function.__defaults__, f"a default argument of {name}"),
                self.describe(function.__kwdefaults__, f"a default argument of {name}"),
            ]
            for key, value in sorted(_used(function).items()):
                self.parts[f"{name}:{key}"] = self._use(f"{name}:{key}", value, function)
        return name

    def _use(self, where: str, value: Any, function: types.FunctionType) -> Any:
        """What a function has under one of its names: of a module, what it names of that."""
        if not isinstance(value, types.ModuleType) or not self._is_ours(value):
            return self.describe(value, where)
        named = sorted(set(_names(function.__code__)) & vars(value).keys())
        return [self.describe(getattr(value, n), f"{where}.{n}") for n in named]

    def _class(self, cls: type) -> str:
        name, is_new = self._named(cls)
        if is_new:
            source = _source(cls)
            bases = [self.describe(base, name) for base in cls.__bases__]
            self.parts[name] = [source, bases]
            for key, value in sorted(vars(cls).items()):
                for function in _functions(value):
                    # What `dataclass` makes has no source and follows from the class's.
                    if self._is_ours(function) and (source is None or _source(function)):
                        self.parts[f"{name}.{key}"] = self.describe(function, f"{name}.{key}")
                is_constant = not key.startswith("_") and not hasattr(type(value), "__get__")
                if is_constant and not callable(value):
                    self.parts[f"{name}.{key}"] = self.describe(value, f"{name}.{key}")
        return name

    def _named(self, thing: types.FunctionType | type) -> tuple[str, bool]:
        """A name that no other function or class has, and whether it is new."""
        is_new = id(thing) not in self._names
        if is_new:
            same = sum(n.partition("#")[0] == thing.__qualname__ for n in self._names.values())
            self._names[id(thing)] = f"{thing.__qualname__}#{same}"
        return self._names[id(thing)], is_new

    def _is_ours(self, thing: Any) -> bool:
        return _package(thing) in self._packages


def _package(thing: Any) -> str:
    is_module = isinstance(thing, types.ModuleType)
    module = thing.__name__ if is_module else getattr(thing, "__module__", None)
    return str(module).partition(".")[0]


def _full_name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _used(function: types.FunctionType) -> dict[str, Any]:
    """What a function's closure holds, and its globals, by the names in its code."""
    used = {
        k: function.__globals__[k] for k in _names(function.__code__) if k in function.__globals__
    }
    for key, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        # `__class__` is for `super()`. A cell may not be set yet.
        if key != "__class__":
            with contextlib.suppress(ValueError):
                used[key] = cell.cell_contents
    return used


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _functions(member: Any) -> list[types.FunctionType]:
    """The functions in a member of a class."""
    if isinstance(member, property):
        found = [member.fget, member.fset, member.fdel]
    elif isinstance(member, functools.cached_property):
        found = [member.func]
    elif isinstance(member, staticmethod | classmethod):
        found = [member.__func__]
    else:
        found = [inspect.unwrap(member) if callable(member) else member]
    return [f for f in found if isinstance(f, types.FunctionType)]


def _state(value: Any) -> dict[str, Any]:
    """An object's attributes."""
    slots = [slot for cls in type(value).__mro__ for slot in getattr(cls, "__slots__", ())]
    held = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    return held | getattr(value, "__dict__", {})


def _bytes(value: Any) -> str | None:
    """The content of arrays and their like; None for what has no plain bytes."""
    try:
        view = memoryview(value)
    except TypeError:
        return None
    if "O" in view.format:
        return None
    return f"{view.format}{view.shape}{hashlib.sha256(view.tobytes()).hexdigest()}"


@functools.lru_cache(maxsize=4096)
def _source(thing: types.FunctionType | type) -> str | None:
    """Code without comments, docstrings, decorators and layout; None where there is no file of it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):  # made by exec, or a lambda amid an expression
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            if node is tree.body[0]:
                node.decorator_list = []
    return ast.unparse(tree)


def _byte_code(code: types.CodeType) -> str:
    constants = [
        _byte_code(c)
        if isinstance(c, types.CodeType)
        else str(sorted(map(repr, c)))
        if isinstance(c, frozenset)
        else repr(c)
        for c in code.co_consts
    ]
    return repr((code.co_code, code.co_names, constants))
