"""Writes a checkpoint of ours as T5X restores it, for our network in its `DecoderOnlyModel`.

checkpoint_<step>/   T5X's orbax layout: `target` and the optimizer's `state`
vocabulary/          a copy
model.gin            the network's sizes, for T5X's --gin_file
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flan.checkpoints import layout
from flan.checkpoints.foreign.lazy_save import LazyArray, as_tree, save_tree
from flan.checkpoints.foreign.our_model import OurModel
from flan.checkpoints.foreign.t5x_optimizer import STATISTICS, adafactor_shapes, their_statistic
from flan.data import atomic
from flan.models.config import ModelConfig

PREFIX = "checkpoint"
MODEL_GIN = "model.gin"


def export_t5x(
    model: OurModel, out: Path, *, on_progress: Callable[[int], Any] = lambda tensors: None
) -> bool:
    """Writes a folder for T5X; returns whether the optimizer's state is in it.

    Args:
      model: the checkpoint. Without Adafactor's state, T5X's starts afresh, at the
        checkpoint's step.
      out: the folder, which must not be there.
      on_progress: called with the number of parameters finished since its last call.

    Memory holds one parameter at a time. Raises ValueError for numbers that are not finite;
    nothing is left of `out` then.
    """
    if out.exists():
        raise ValueError(f"{out} is there already: give another folder")
    with atomic.new_folder(out) as folder:
        shutil.copytree(model.vocabulary_dir, folder / layout.VOCABULARY)
        (folder / MODEL_GIN).write_text(model_gin(model.config), encoding="utf-8")
        return write_t5x(model, folder, model.step, on_progress=on_progress)


def write_t5x(
    model: OurModel,
    folder: Path,
    step: int,
    *,
    fresh: bool = False,
    on_progress: Callable[[int], Any] = lambda tensors: None,
) -> bool:
    """Writes `checkpoint_<step>` into an existing folder; see `export_t5x`.

    With `fresh` the optimizer starts anew.
    """
    state = None if fresh else model.adafactor()
    shapes = adafactor_shapes(
        factored=state is None or state.factored,
        momentum=state is not None and state.momentum,
        shapes=model.shapes,
    )
    target: dict[str, LazyArray] = {}
    states: dict[str, LazyArray] = {}
    for path, shape in model.shapes.items():
        read = functools.partial(model.read, path)
        target[path] = _array(shape, path, read, on_progress)
        for name in STATISTICS:
            shape_of = shapes[name][path]
            theirs = their_statistic(name, path, shape, path.startswith("layers/"))
            reads = None
            if state is not None:
                reads = functools.partial(model.read_statistic, state, name, path, shape_of)
            states[f"{path}/{theirs}"] = _array(shape_of, f"{name} of {path}", reads)
    tree = {
        "target": as_tree(target),
        "state": {"step": np.asarray(step, np.int32), "param_states": as_tree(states)},
    }
    save_tree(folder, step, tree, scratch=folder, prefix=PREFIX)
    return state is not None


def _array(
    shape: tuple[int, ...],
    path: str,
    read: Callable[[], np.ndarray] | None,
    on_progress: Callable[[int], Any] = lambda tensors: None,
) -> LazyArray:
    """Float32, as T5X saves; zeros where there is nothing to read."""

    def fill(out: np.ndarray) -> None:
        out[...] = 0.0 if read is None else read()
        if not np.isfinite(out).all():
            raise ValueError(f"{path} holds numbers that are not finite")
        on_progress(1)

    return LazyArray(shape, np.dtype(np.float32), fill)


def model_gin(config: ModelConfig) -> str:
    """The network's sizes and switches as gin text, like `configs/models/*.gin`."""
    lines = [f"ModelConfig.{name} = {value!r}" for name, value in config.to_json().items()]
    return "\n".join(["MODEL = @ModelConfig()", "", *lines, ""])
