"""How often a `while` loop of an HLO program runs."""

from __future__ import annotations

import re

from flan.planning.hlo import Computation, Instruction, Module

_KNOWN = re.compile(r'"known_trip_count"\s*:\s*\{\s*"n"\s*:\s*"?(\d+)')
# Through these a value passes unchanged.
_PASSING = ("bitcast", "copy", "convert", "reshape", "copy-start", "copy-done")


def trip_count(module: Module, caller: Computation, loop: Instruction) -> int | None:
    """Times that the body of `loop` runs; None where that cannot be told.

    XLA's own figure is taken where it stands in the text. Otherwise the loop must count from
    a constant to a constant by a constant, as all that `scan` makes do.
    """
    if known := _KNOWN.search(loop.attributes):
        return int(known[1])
    condition = module.computations.get(_first(loop, "condition"))
    body = module.computations.get(_first(loop, "body"))
    initial = caller.operand(loop, 0)
    if condition is None or body is None or initial is None or initial.opcode != "tuple":
        return None
    test = _comparison(module, condition)
    if test is None:
        return None
    index, limit, inclusive = test
    start = _constant(caller, caller.operand(initial, index))
    step = _step(module, body, index)
    if start is None or step is None or step <= 0:
        return None
    return max(0, -(-(limit + inclusive - start) // step))


def _first(instruction: Instruction, key: str) -> str:
    return instruction.called.get(key, ("",))[0]


def _comparison(module: Module, condition: Computation) -> tuple[int, int, int] | None:
    """(element of the loop's tuple, limit, 1 if the limit itself still runs) of its test."""
    root = _inside(module, condition, condition.instructions[condition.root])
    if root is None:
        return None
    compare, operands = root
    direction = compare.attribute("direction")
    if compare.opcode != "compare" or direction not in ("LT", "LE") or len(operands) != 2:
        return None
    index, limit = _element(condition, operands[0]), _constant(condition, operands[1])
    return None if index is None or limit is None else (index, limit, int(direction == "LE"))


def _step(module: Module, body: Computation, index: int) -> int | None:
    """What the body adds to an element of the loop's tuple."""
    last = body.instructions[body.root]
    new = _passed(body, body.operand(last, index)) if last.opcode == "tuple" else None
    root = _inside(module, body, new) if new is not None else None
    if root is None or root[0].opcode != "add":
        return None
    operands = root[1]
    for one, other in (operands, operands[::-1]):
        if _element(body, one) == index and (step := _constant(body, other)) is not None:
            return step
    return None


def _inside(
    module: Module, outer: Computation, instruction: Instruction
) -> tuple[Instruction, list[Instruction | None]] | None:
    """An instruction with its operands in `outer`, looked for within a fusion if it is one."""
    if instruction.opcode not in ("fusion", "call"):
        return instruction, [outer.operand(instruction, i) for i in (0, 1)]
    inner = module.computations.get((instruction.called.get("calls") or ("",))[0])
    inner = inner or module.computations.get((instruction.called.get("to_apply") or ("",))[0])
    if inner is None:
        return None
    root = inner.instructions[inner.root]
    operands = []
    for number in (0, 1):
        operand = _passed(inner, inner.operand(root, number))
        if operand is not None and operand.opcode == "parameter":
            operand = outer.operand(instruction, int(operand.literal))
        operands.append(operand)
    return root, operands


def _passed(computation: Computation, instruction: Instruction | None) -> Instruction | None:
    """What a value was before it was copied about."""
    while instruction is not None and instruction.opcode in _PASSING:
        instruction = computation.operand(instruction, 0)
    return instruction


def _element(computation: Computation, instruction: Instruction | None) -> int | None:
    instruction = _passed(computation, instruction)
    if instruction is None or instruction.opcode != "get-tuple-element":
        return None
    index = instruction.attribute("index")
    return int(index) if index and index.isdigit() else None


def _constant(computation: Computation, instruction: Instruction | None) -> int | None:
    instruction = _passed(computation, instruction)
    if instruction is None or instruction.opcode != "constant":
        return None
    return int(instruction.literal) if re.fullmatch(r"-?\d+", instruction.literal) else None
