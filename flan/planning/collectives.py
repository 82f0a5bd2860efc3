"""What devices send one another: kind, group and bytes of the collectives in HLO."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

from flan.planning.hlo import Instruction

# Bytes that a device sends, as a share of its operand, in the ring algorithm among n devices.
_SENT = {
    "all-gather": lambda n: n - 1,
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "ragged-all-to-all": lambda n: (n - 1) / n,
    "collective-broadcast": lambda n: 1,
    "collective-permute": lambda n: 1,
}
# What libtpu makes of a collective among slices: each device sends to its host, and gets back.
_TRANSFER = re.compile(
    r'_xla_megascale_target="\{([\d,:]+)\}[^"]*",_xla_megascale_transfer_type="(\w+)"'
)
_BETWEEN = " between slices"
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_LISTED = re.compile(r"replica_groups=\{(\{[\d,]*\}(?:,\{[\d,]*\})*)?\}")
_MESH = re.compile(
    r"replica_groups=\w*mesh\[([^\]]*)\]"
    r"(?:,\s*device_ids=\((?:\[([\d,]+)\]T\(([\d,]+)\)|([\d,\s]+))\))?"
    r"[^{]*\{([^}]*)\}"
)
_AXIS = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+))?")
_PAIRS = re.compile(r"source_target_pairs=\{(\{\d+,\d+\}(?:,\{\d+,\d+\})*)\}")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective, as one device sees it.

    Attributes:
      kind: `all-gather`, `all-reduce`, ...
      group: numbers of the devices (places in the mesh, row by row) in the first group; empty
        for what goes to other slices.
      bytes: sent by a device, in the ring algorithm.
    """

    kind: str
    group: tuple[int, ...]
    bytes: float


def kind_of(instruction: Instruction) -> str | None:
    """The kind of collective; None for others and for the `-done` of a started one."""
    if instruction.opcode == "send":  # to a host; those of other slices alone are collectives
        sent = _TRANSFER.search(instruction.attributes)
        return f"{sent[2].lower().replace('_', '-')}{_BETWEEN}" if sent else None
    kind = instruction.opcode.removesuffix("-start")
    return kind if kind in _SENT else None


def collective(
    instruction: Instruction, operand_bytes: int, num_devices: int, scattered: bool = False
) -> Collective | None:
    """The collective that an instruction is; None where it has one device to a group.

    Args:
      instruction: one of a kind that `kind_of` knows.
      operand_bytes: size of what a device gives.
      num_devices: that the program runs on.
      scattered: the sum is sliced right away, so that an `all-reduce` may scatter.
    """
    kind = kind_of(instruction)
    assert kind is not None, instruction
    if kind.endswith(_BETWEEN):
        share = _SENT.get(kind.removesuffix(_BETWEEN), lambda n: 1)
        return Collective(kind, (), operand_bytes * share(_slices(instruction)))
    if kind == "all-reduce" and scattered:
        kind = "reduce-scatter"
    if kind == "collective-permute":
        pairs = _pairs(instruction.attributes)
        moved = [pair for pair in pairs if pair[0] != pair[1]]
        if not moved:
            return None
        # Devices that receive nothing from others send nothing either, in a ring.
        return Collective(kind, moved[0], operand_bytes * len(moved) / len(pairs))
    group = first_group(instruction.attributes, num_devices)
    if len(group) < 2:
        return None
    return Collective(kind, group, operand_bytes * _SENT[kind](len(group)))


def _slices(instruction: Instruction) -> int:
    """How many slices take part in a transfer between them."""
    found = _TRANSFER.search(instruction.attributes)
    assert found is not None, instruction
    slices = 0
    for part in found[1].split(","):
        first, _, last = part.partition(":")
        slices += int(last or first) - int(first) + 1
    return slices


def first_group(attributes: str, num_devices: int) -> tuple[int, ...]:
    """Devices of the first replica group, in any of XLA's notations.

    `{{0,1},{2,3}}` lists them; `{}` is one group of all; `[2,4]<=[4,2]T(1,0)` is a transposed
    count cut into 2 groups of 4; `mesh['a'=2,'b'=4] {'b'}` runs along the mesh axis `b`, and
    with `device_ids=([2,4]T(1,0))` or a list the mesh's places are other devices.
    """
    if iota := _IOTA.search(attributes):
        shape, sizes = _numbers(iota[1]), _numbers(iota[2])
        order = np.arange(math.prod(sizes)).reshape(sizes)
        if iota[3]:
            order = order.transpose(_numbers(iota[3]))
        return tuple(int(d) for d in order.reshape(shape)[0].ravel())
    if mesh := _MESH.search(attributes):
        places = _along(mesh[1], mesh[5])
        if mesh[2]:
            sizes = _numbers(mesh[2])
            order = np.arange(math.prod(sizes)).reshape(sizes).transpose(_numbers(mesh[3]))
            return tuple(int(order.ravel()[place]) for place in places)
        listed_ids = _numbers(mesh[4] or "")
        return tuple(listed_ids[place] for place in places) if listed_ids else places
    if listed := _LISTED.search(attributes):
        if not listed[1]:
            return tuple(range(num_devices))
        return tuple(_numbers(listed[1][1:].split("}")[0]))
    return tuple(range(num_devices))


def _along(mesh: str, axes: str) -> tuple[int, ...]:
    """Devices along some axes, or parts `'axis':(before)size` of axes, from the mesh's corner."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh)}
    names = list(sizes)
    strides = {n: math.prod(sizes[m] for m in names[i + 1 :]) for i, n in enumerate(names)}
    group = np.zeros(1, int)
    for name, before, part in _AXIS.findall(axes):
        size = int(part) if part else sizes[name]
        stride = strides[name]
        if part:
            stride *= sizes[name] // (int(before) * size)
        group = (group[:, None] + np.arange(size)[None] * stride).ravel()
    return tuple(int(d) for d in group)


def _pairs(attributes: str) -> list[tuple[int, int]]:
    found = _PAIRS.search(attributes)
    numbers = _numbers(found[1]) if found else []
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
