"""What one device does in a compiled program: operations, memory traffic, collectives.

XLA's own `cost_analysis()` counts the body of a loop once. Here each computation counts as
often as it runs: a scan over 64 layers 64 times.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from flan.planning import hlo
from flan.planning.collectives import Collective, collective, kind_of
from flan.planning.hlo import Computation, Instruction, Module
from flan.planning.matrix import matrix_flops
from flan.planning.trips import trip_count

# Nothing moves for these: they name, group or take apart what is there.
_FREE = {
    "add-dependency",
    "after-all",
    "async-done",
    "async-update",
    "bitcast",
    "conditional",
    "constant",
    "copy-done",
    "domain",
    "get-dimension-size",
    "get-tuple-element",
    "opt-barrier",
    "optimization-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
    "while",
}
_TAKE_PARTS = ("dynamic-slice", "gather", "slice")
# Libraries' routines that compute nothing worth counting.
_LIGHT_CALLS = (
    "AllocateBuffer",
    "AssumeGatherIndicesInBound",
    "GatherScatterIndices",
    "Sharding",
    "annotate_",
    "TopK",
)


@dataclasses.dataclass
class Counts:
    """Totals of one device over one run of the program.

    Attributes:
      matrix_flops: of matrix products and convolutions, 2 for a multiply-add.
      memory_bytes: read from and written to main memory, each operation by itself.
      collectives: kind and group, to the bytes that a device sends.
      unknown_loops: loops counted once, as nobody can tell how often they run.
      opaque: calls of libraries whose inside is not counted, by name.
    """

    matrix_flops: float = 0.0
    memory_bytes: float = 0.0
    collectives: Counter[tuple[str, tuple[int, ...]]] = dataclasses.field(default_factory=Counter)
    unknown_loops: list[str] = dataclasses.field(default_factory=list)
    opaque: Counter[str] = dataclasses.field(default_factory=Counter)

    @property
    def sent_bytes(self) -> float:
        """Bytes that a device sends to others."""
        return sum(self.collectives.values())

    def add(self, other: Counts, times: int = 1) -> None:
        """Adds what another program, or part of this one, does when run `times` times."""
        self.matrix_flops += times * other.matrix_flops
        self.memory_bytes += times * other.memory_bytes
        for key, count in other.collectives.items():
            self.collectives[key] += times * count
        for name, count in other.opaque.items():
            self.opaque[name] += times * count
        self.unknown_loops += [n for n in other.unknown_loops if n not in self.unknown_loops]


def count(text: str, num_devices: int = 1) -> Counts:
    """Counts of an optimized HLO text; ValueError where it is none."""
    return _Counter(hlo.parse(text), num_devices).of(None)


class _Counter:
    def __init__(self, module: Module, num_devices: int) -> None:
        self._module, self._num_devices = module, num_devices
        self._counted: dict[tuple[str, bool], Counts] = {}

    def of(self, name: str | None, fused: bool = False) -> Counts:
        """Counts of a computation; of a fused one without memory, which its caller counts."""
        name = name or self._module.entry
        if (name, fused) not in self._counted:
            total = Counts()
            if computation := self._module.computations.get(name):
                for instruction in computation.instructions.values():
                    self._add(total, computation, instruction, fused)
            self._counted[name, fused] = total
        return self._counted[name, fused]

    def _add(
        self, total: Counts, computation: Computation, instruction: Instruction, fused: bool
    ) -> None:
        opcode, called = instruction.opcode, instruction.called
        if opcode == "while":
            times = trip_count(self._module, computation, instruction)
            if times is None:
                total.unknown_loops.append(instruction.name)
            for body in (*called.get("body", ()), *called.get("condition", ())):
                total.add(self.of(body), 1 if times is None else times)
            return
        if opcode == "conditional":
            branches = [self.of(n) for names in called.values() for n in names]
            if branches:  # the costliest one may be the one that runs
                total.add(max(branches, key=lambda b: (b.matrix_flops, b.memory_bytes)))
            return
        if opcode in ("call", "async-start"):
            for name in called.get("to_apply") or called.get("calls", ()):
                total.add(self.of(name, fused))
            return
        if kind_of(instruction):
            if found := self._collective(computation, instruction):
                total.collectives[found.kind, found.group] += found.bytes  # type: ignore[assignment]
        elif opcode == "fusion":
            for name in called.get("calls", ()):
                total.add(self.of(name, fused=True))
        elif (flops := matrix_flops(computation, instruction)) is not None:
            total.matrix_flops += flops
        elif opcode == "custom-call":
            target = (instruction.attribute("custom_call_target") or "").strip('"')
            if not target.startswith(_LIGHT_CALLS):
                total.opaque[target] += 1
        if not fused:
            total.memory_bytes += self._memory(computation, instruction)

    def _collective(self, computation: Computation, instruction: Instruction) -> Collective | None:
        operands = computation.operands(instruction)
        size = sum(operand.bytes for operand in operands)
        return collective(
            instruction, size, self._num_devices, self._is_scattered(computation, instruction)
        )

    def _is_scattered(self, computation: Computation, instruction: Instruction) -> bool:
        """Whether an all-reduce's sum is only sliced: TPUs fuse a reduce-scatter so."""
        users = [i for i in computation.instructions.values() if instruction.name in i.operands]
        while len(users) == 1 and users[0].opcode in ("bitcast", "reshape", "copy"):
            passing = users[0].name
            users = [i for i in computation.instructions.values() if passing in i.operands]
        return bool(users) and all(user.opcode == "dynamic-slice" for user in users)

    def _memory(self, computation: Computation, instruction: Instruction) -> int:
        """Bytes of main memory that an operation reads and writes."""
        opcode = instruction.opcode
        if opcode in _FREE or opcode.endswith("-done"):
            return 0
        if opcode == "fusion":
            inner = self._module.computations.get((instruction.called.get("calls") or ("",))[0])
            if inner is not None:
                return self._fusion_memory(computation, instruction, inner)
        operands = computation.operands(instruction)
        if opcode.removesuffix("-start") in _TAKE_PARTS:
            return _part_memory(instruction, operands)
        if opcode == "dynamic-update-slice":
            return 2 * _in_memory(operands[1]) if len(operands) > 1 else 0
        if opcode == "scatter":
            return _in_memory(operands[1]) + 3 * _in_memory(operands[2])
        if opcode.endswith("-start") and opcode != "all-reduce-start":
            return _in_memory(instruction)  # which repeats its operands
        return _in_memory(instruction) + sum(_in_memory(operand) for operand in operands)

    def _fusion_memory(
        self, computation: Computation, instruction: Instruction, inner: Computation
    ) -> int:
        """A fusion reads its operands, or the slices it takes, and writes its results."""
        parameters = {
            int(i.literal): i for i in inner.instructions.values() if i.opcode == "parameter"
        }
        total = 0
        for number, operand in enumerate(computation.operands(instruction)):
            whole = _in_memory(operand)
            parameter = parameters.get(number)
            if whole and parameter is not None:
                whole = min(whole, self._read(inner, parameter))
            total += whole
        root = inner.instructions[inner.root]
        roots = inner.operands(root) if root.opcode == "tuple" else [root]
        if len(roots) != len(instruction.arrays):
            return total + _in_memory(instruction)
        for array, written in zip(instruction.arrays, roots, strict=True):
            while written.opcode in ("bitcast", "reshape", "copy", "convert"):
                written = inner.operand(written, 0) or written
                if not written.operands:
                    break
            if array.space:
                continue
            update = inner.operand(written, 1)
            in_place = written.opcode == "dynamic-update-slice" and update is not None
            total += update.bytes if in_place and update else array.bytes
        return total

    def _read(self, inner: Computation, parameter: Instruction) -> int:
        """Bytes that a fusion reads of a parameter: its slices where it only takes slices."""
        total = 0
        pending, seen = [parameter], {parameter.name}
        while pending:
            value = pending.pop()
            for user in inner.instructions.values():
                if value.name not in user.operands or user.name in seen:
                    continue
                if user.opcode in ("dynamic-slice", "slice", "gather"):
                    total += user.bytes
                elif user.opcode == "dynamic-update-slice" and user.operands[0] == value.name:
                    pass  # written in place
                elif user.opcode in ("bitcast", "reshape"):
                    seen.add(user.name)
                    pending.append(user)
                else:
                    return parameter.bytes
        return total


def _part_memory(instruction: Instruction, operands: Sequence[Instruction]) -> int:
    """Bytes read and written by what takes a part of its first operand, wherever both lie."""
    # A started one results in its operands, the part, and a mark.
    before = sum(len(o.arrays) for o in operands) if instruction.opcode.endswith("-start") else 0
    part = instruction.arrays[before]
    read = 0 if operands and operands[0].arrays[0].space else part.bytes
    return read + (0 if part.space else part.bytes) + sum(_in_memory(o) for o in operands[1:])


def _in_memory(instruction: Instruction) -> int:
    """Bytes of a result that lie in main memory: TPUs keep some on the chip."""
    return sum(array.bytes for array in instruction.arrays if not array.space)
