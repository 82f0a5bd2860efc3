"""T5X's Adafactor statistics as ours, and back: the same numbers under other names.

A factored parameter has the means of its squared gradients over either side. Ours are
`v_row`, which keeps the side before the last, and `v_col`, which keeps the last, for any
parameter. T5X (adafactor.py: `_parse_rule`, `_factored_dims`) names them by what they keep:

  stacked kernels     `v_row` keeps the axis `embed`, which is the last one of `out` and `wo`
  single matrices     `v_row` keeps the smaller side, of equal ones the first

The update multiplies by both and divides by their common mean, so that names do not matter
to it. What is not factored has `v`, the same on both sides. Momentum `m` is of what is added to
a parameter here and of what is taken off it there. What is not kept is `[1]` on both sides.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from flan.checkpoints.foreign.lazy_save import LazyArray, as_tree
from flan.checkpoints.foreign.names import Parameter
from flan.checkpoints.foreign.t5x_files import StoredArray
from flan.training.adafactor import Adafactor, AdafactorState

STATISTICS = ("v_row", "v_col", "v", "m")
# Kernels whose last axis is `embed`, which T5X's rules call the rows.
_EMBED_LAST = ("layers/self_attention/out/kernel", "layers/mlp/wo/kernel")
_OTHER = {"v_row": "v_col", "v_col": "v_row"}


def their_statistic(name: str, path: str, shape: tuple[int, ...], stacked: bool) -> str:
    """T5X's name for a statistic of ours; the same function gives ours for theirs.

    Args:
      name: one of `STATISTICS`.
      path: our parameter's.
      shape: of the parameter as T5X holds it, layers (if stacked) first.
      stacked: whether T5X keeps its layers in one array.
    """
    swapped = path in _EMBED_LAST if stacked else len(shape) == 2 and shape[0] > shape[1]
    return _OTHER.get(name, name) if swapped else name


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What was found of an optimizer.

    Attributes:
      state: `AdafactorState` of `LazyArray`s; None where it cannot be taken over.
      problem: why it cannot.
    """

    state: AdafactorState | None
    problem: str = ""


def read_adafactor(
    arrays: Mapping[str, StoredArray], parameters: list[Parameter], axis: int, step: int
) -> Statistics:
    """The statistics that belong to a T5X checkpoint's parameters, in our form.

    Args:
      arrays: T5X's `param_states`, by our names for its parameters, then the statistic:
        `layers/mlp/wo/kernel/v_col`, `layers_3/mlp/wo/kernel/v_col`.
      parameters: the network's, with their parts in T5X.
      axis: which axis of T5X's stacked arrays counts layers.
      step: updates that the optimizer has done.
    """
    names = {name.rpartition("/")[2] for name in arrays}
    if not arrays:
        return Statistics(None, "it has none")
    if names != set(STATISTICS):
        return Statistics(None, f"it keeps {', '.join(sorted(names))}, no Adafactor's statistics")
    kept = {
        name: any(a.shape != (1,) for n, a in arrays.items() if n.endswith(f"/{name}"))
        for name in STATISTICS
    }
    expected = adafactor_shapes(
        factored=kept["v_row"],
        momentum=kept["m"],
        shapes={p.path: p.shape for p in parameters},
    )
    trees: dict[str, dict[str, LazyArray]] = {name: {} for name in STATISTICS}
    for parameter in parameters:
        stacked = parameter.stacked or parameter.path.startswith("layers/")
        whole = stacked and not parameter.stacked  # one array there, as here
        for name in STATISTICS:
            theirs = their_statistic(name, parameter.path, parameter.part_shape, whole)
            found = [arrays.get(f"{part}/{theirs}") for part in parameter.parts]
            shape = expected[name][parameter.path]
            parts = [
                _Part(array, whole and axis == 1 and _layers_last(name, array.shape))
                for array in found
                if array is not None
            ]
            if len(parts) < len(found):
                return Statistics(None, f"{parameter.path} has no {theirs}")
            if not parameter.stacked:
                wanted = shape
            elif shape == (1,):
                wanted, parts = shape, parts[:1]
            else:
                wanted = shape[1:]
            if odd := [part.shape for part in parts if part.shape != wanted]:
                return Statistics(
                    None,
                    f"{theirs} of {parameter.path} has shape {list(odd[0])} where our Adafactor "
                    f"keeps {list(wanted)}: it factors other parameters",
                )
            fill = functools.partial(_fill, parts, parameter.stacked and shape != (1,), sign(name))
            trees[name][parameter.path] = LazyArray(shape, np.dtype(np.float32), fill)
    moments = {name: as_tree(tree) for name, tree in trees.items()}
    return Statistics(AdafactorState(step=np.asarray(step, np.int32), **moments))  # type: ignore[arg-type]


def adafactor_shapes(
    *, factored: bool, momentum: bool, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shape of each statistic of our Adafactor by name, then path of the parameter."""
    settings = Adafactor(lambda step: 0.0, factored=factored, momentum=0.9 if momentum else None)
    params = as_tree({p: jax.ShapeDtypeStruct(s, np.float32) for p, s in shapes.items()})
    state = jax.eval_shape(settings.transformation().init, params)
    return {
        name: {
            "/".join(str(entry.key) for entry in path): leaf.shape
            for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(state, name))
        }
        for name in STATISTICS
    }


@dataclasses.dataclass(frozen=True)
class _Part:
    """A stored statistic, perhaps with its layers last."""

    array: StoredArray
    moved: bool

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.array.shape
        return (shape[1], shape[0], *shape[2:]) if self.moved else shape

    def read(self) -> np.ndarray:
        array = self.array.read()
        return np.moveaxis(array, 1, 0) if self.moved else array


def _layers_last(name: str, shape: tuple[int, ...]) -> bool:
    """Whether layers are on axis 1 of a statistic whose parameter has them there.

    `v_col` of ours lacks the side before them.
    """
    return len(shape) > 1 and name != "v_col"


def sign(name: str) -> np.float32:
    """What a statistic is multiplied by on its way between T5X and us."""
    return np.float32(-1 if name == "m" else 1)


def _fill(parts: list[_Part], stacked: bool, factor: np.float32, out: np.ndarray) -> Any:
    for layer, part in enumerate(parts):
        array = part.read()
        if not np.isfinite(array).all():
            raise ValueError("the optimizer's statistics hold numbers that are not finite")
        out[layer if stacked else ...] = array * factor
