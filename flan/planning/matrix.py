"""Floating-point operations of matrix products and convolutions in HLO.

TPUs run every matrix product as a convolution: batch axes become window axes, padded so that
most places of the window multiply by nothing. Only the places that count are counted, so a
product has the same number of operations in either form: 2 for each multiply-add.
"""

from __future__ import annotations

import json
import math
import re

import numpy as np

from flan.planning.hlo import Array, Computation, Instruction

_LABELS = re.compile(r"([\w?]+)_([\w?]+)->([\w?]+)")
# Libraries' matrix products say in JSON which axes they sum over.
_LIBRARY = re.compile(r'"lhs_contracting_dimensions"\s*:\s*(\[[^\]]*\])')


def matrix_flops(computation: Computation, instruction: Instruction) -> int | None:
    """Operations of a `dot`, a `convolution` or a library's product; None for anything else."""
    operands = computation.operands(instruction)
    if instruction.opcode == "dot":
        return _dot(
            instruction, operands[0].arrays[0], instruction.attribute("lhs_contracting_dims")
        )
    if instruction.opcode == "convolution":
        return _convolution(instruction, operands[0].arrays[0], operands[1].arrays[0])
    if instruction.opcode == "custom-call" and (found := _LIBRARY.search(instruction.attributes)):
        axes = json.loads(found[1])
        return _dot(instruction, operands[0].arrays[0], ",".join(str(a) for a in axes))
    return None


def _dot(instruction: Instruction, left: Array, contracting: str | None) -> int:
    axes = [int(axis) for axis in re.findall(r"\d+", contracting or "")]
    return 2 * instruction.arrays[0].elements * math.prod(left.dims[axis] for axis in axes)


def _convolution(instruction: Instruction, left: Array, kernel: Array) -> int:
    labels = _LABELS.match(instruction.attribute("dim_labels") or "")
    if not labels:
        raise ValueError(f"convolution {instruction.name} has no dim_labels")
    left_labels, kernel_labels, out_labels = labels.groups()
    output = instruction.arrays[0]
    window = _window(instruction.attribute("window") or "{}")
    spatial = sorted(label for label in kernel_labels if label.isdigit())
    places = 1
    for number, label in enumerate(spatial):
        places *= _valid_places(
            left.dims[left_labels.index(label)],
            kernel.dims[kernel_labels.index(label)],
            output.dims[out_labels.index(label)],
            *(values[number] for values in _defaults(window, len(spatial))),
        )
    features = output.dims[out_labels.index("b")] * output.dims[out_labels.index("f")]
    return 2 * features * places * kernel.dims[kernel_labels.index("i")]


def _window(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.strip("{}").split() if "=" in part)


def _defaults(window: dict[str, str], axes: int) -> list[list]:
    """Stride, low padding, input dilation and kernel dilation along each axis."""

    def each(name: str, default: str) -> list[str]:
        return window.get(name, "x".join([default] * axes)).split("x")

    low = [int(pad.split("_")[0]) for pad in each("pad", "0_0")]
    return [
        [int(v) for v in each("stride", "1")],
        low,
        [int(v) for v in each("lhs_dilate", "1")],
        [int(v) for v in each("rhs_dilate", "1")],
    ]


def _valid_places(
    size: int, kernel: int, out: int, stride: int, low: int, dilate: int, kernel_dilate: int
) -> int:
    """Pairs (output place, kernel place) along an axis that meet a real input."""
    # Reversing the kernel (`rhs_reversal`) pairs the same places in another order.
    taps = np.arange(kernel) * kernel_dilate
    last = (size - 1) * dilate
    count = 0
    for start in range(0, out, 4096):  # in parts: long axes have many pairs
        places = np.arange(start, min(out, start + 4096))[:, None] * stride - low + taps[None]
        count += int(((places >= 0) & (places <= last) & (places % dilate == 0)).sum())
    return count
