"""Reads XLA's optimized program text (`compiled.as_text()`): computations, instructions, shapes.

Only what counting needs is kept; unknown operations and attributes are carried as text, so
that the text of another backend or XLA version still reads.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re

_BITS = {"pred": 8, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"([a-z]+[0-9a-z]*)\[([^\]]*)\](\{[^{}]*\})?")
_SPACE = re.compile(r"S\((\d+)\)")
_NAME = re.compile(r"%?([\w.\-]+)$")
_HEADER = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s*(?:\(.*\)\s*->.*)?\{\s*$")
_CALLED = re.compile(
    r"\b(calls|to_apply|body|condition|branch_computations|true_computation|"
    r"false_computation|called_computations)=(\{[^}]*\}|%?[\w.\-]+)"
)
_COMMENT = re.compile(r"/\*.*?\*/")


@dataclasses.dataclass(frozen=True)
class Array:
    """Type, sizes and memory of an array: space 0 is the device's main memory (HBM)."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Size in bytes, without padding."""
        return -(-self.elements * bits(self.dtype) // 8)


def bits(dtype: str) -> int:
    """Bits of an element: 32 for `f32`, 8 for `f8e4m3fn` and `pred`."""
    if dtype in _BITS:
        return _BITS[dtype]
    number = re.match(r"[a-z]+(\d+)", dtype)
    return int(number[1]) if number else 0


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: unique in the module.
      opcode: as XLA prints it, `dot`, `all-gather-start`, ...
      arrays: the result; several where it is a tuple, nested ones flattened.
      operands: names of instructions of the same computation.
      literal: what stands between the parentheses (a constant's value, a parameter's number).
      attributes: the rest of the line, as text.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str

    @property
    def bytes(self) -> int:
        """Size of the result."""
        return sum(a.bytes for a in self.arrays)

    @functools.cached_property
    def called(self) -> dict[str, tuple[str, ...]]:
        """Computations that it refers to, by attribute."""
        found = {}
        for key, value in _CALLED.findall(self.attributes):
            names = value.strip("{}").split(",")
            found[key] = tuple(n.strip().lstrip("%") for n in names if n.strip())
        return found

    def attribute(self, name: str) -> str | None:
        """The value of `name=...`, braces, brackets and all; None where there is none."""
        found = re.search(rf"(?:^|[\s,]){re.escape(name)}=", self.attributes)
        if not found:
            return None
        return _value(self.attributes, found.end())


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions by name, in order."""

    name: str
    instructions: dict[str, Instruction]
    root: str

    def operand(self, instruction: Instruction, number: int) -> Instruction | None:
        """The instruction that an operand names."""
        if number >= len(instruction.operands):
            return None
        return self.instructions.get(instruction.operands[number])

    def operands(self, instruction: Instruction) -> list[Instruction]:
        """All of them that are known."""
        found = (self.instructions.get(name) for name in instruction.operands)
        return [operand for operand in found if operand is not None]


@dataclasses.dataclass(frozen=True)
class Module:
    """Computations by name."""

    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> Module:
    """The program of an HLO text; ValueError where it has no entry computation."""
    computations: dict[str, Computation] = {}
    entry, name, root = "", "", ""
    instructions: dict[str, Instruction] | None = None
    for line in text.splitlines():
        if instructions is None:
            header = _HEADER.match(line)
            if header and not line.startswith("HloModule"):
                name, root, instructions = header[2], "", {}
                entry = name if header[1] else entry
        elif line.startswith("}"):
            computations[name] = Computation(name, instructions, root)
            instructions = None
        elif (read := _instruction(line)) is not None:
            instructions[read.name] = read
            if not root or line.lstrip().startswith("ROOT "):
                root = read.name
    if entry not in computations:
        raise ValueError("the HLO text has no ENTRY computation; give the output of as_text()")
    return Module(computations, entry)


def _instruction(line: str) -> Instruction | None:
    left, separator, right = line.strip().removeprefix("ROOT ").partition(" = ")
    name = _NAME.match(left.strip())
    if not separator or not name:
        return None
    right = _COMMENT.sub("", right)
    shape = _value(right, 0)
    rest = right[len(shape) :].lstrip()
    opcode, parenthesis, _ = rest.partition("(")
    if not parenthesis:
        return None
    inside = _value(rest, len(opcode))
    literal = inside[1:-1]
    return Instruction(
        name[1],
        opcode.strip(),
        arrays(shape),
        () if opcode in ("constant", "parameter", "iota") else _operands(literal),
        literal,
        _without_strings(rest[len(opcode) + len(inside) :]),
    )


def arrays(shape: str) -> tuple[Array, ...]:
    """The arrays in the text of a shape, a tuple's flattened."""
    found = []
    for dtype, dims, layout in _ARRAY.findall(shape):
        sizes = tuple(int(d.strip().lstrip("<=")) for d in dims.split(",") if d.strip())
        space = _SPACE.search(layout)
        found.append(Array(dtype, sizes, int(space[1]) if space else 0))
    return tuple(found)


def _operands(text: str) -> tuple[str, ...]:
    """Names, whether or not their types stand before them."""
    names = []
    for part in _split(text):
        if match := re.search(r"%?([\w.\-]+)$", part.strip()):
            names.append(match[1])
    return tuple(names)


def _split(text: str) -> list[str]:
    """The text at commas outside all brackets."""
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]] if text.strip() else []


def _value(text: str, start: int) -> str:
    """The text from `start` to the first space or comma outside all brackets and strings."""
    depth, quoted, place = 0, False, start
    while place < len(text):
        char = text[place]
        if quoted:
            if char == "\\":
                place += 1
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0 and text[start] == "(":
                return text[start : place + 1]
        elif depth == 0 and char in " ,":
            break
        place += 1
    return text[start:place]


def _without_strings(attributes: str) -> str:
    """The attributes less `metadata`, whose strings may hold anything."""
    found = re.search(r",?\s*metadata=", attributes)
    if not found:
        return attributes
    value = _value(attributes, found.end())
    return attributes[: found.start()] + attributes[found.end() + len(value) :]
