"""Writes a checkpoint of ours as T5X restores it, for our network in its `DecoderOnlyModel`.

checkpoint_<step>/   T5X's orbax layout: `target` and the optimizer's `state`
vocabulary/          a copy
model.gin            the network's sizes, for T5X's --gin_file
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from flan.checkpoints import layout
from flan.checkpoints.foreign.lazy_save import LazyArray, as_tree, save_tree
from flan.checkpoints.foreign.our_model import AdafactorShape, OurModel
from flan.checkpoints.foreign.t5x_optimizer import (
    STATISTICS,
    adafactor_shapes,
    sign,
    their_statistic,
)
from flan.data import atomic
from flan.models.config import ModelConfig

PREFIX = "checkpoint"
MODEL_GIN = "model.gin"


def export_t5x(
    model: OurModel,
    out: Path,
    *,
    files: Mapping[str, bytes] = MappingProxyType({}),
    on_progress: Callable[[int], Any] = lambda tensors: None,
) -> bool:
    """Writes a folder for T5X; returns whether the optimizer's state is in it.

    Args:
      model: the checkpoint. Without Adafactor's state, T5X's starts afresh, at the
        checkpoint's step.
      out: the folder, which must not be there.
      files: more files of the folder, by name.
      on_progress: called with the number of parameters finished since its last call.

    Memory holds one parameter at a time. Raises ValueError for numbers that are not finite;
    nothing is left of `out` then.
    """
    if out.exists():
        raise ValueError(f"{out} is there already: give another folder")
    with atomic.new_folder(out) as folder:
        atomic.write_files(folder, files)
        shutil.copytree(model.vocabulary_dir, folder / layout.VOCABULARY)
        (folder / MODEL_GIN).write_text(model_gin(model.config), encoding="utf-8")
        return write_t5x(model, folder, model.step, on_progress=on_progress)


class Source(Protocol):
    """A state to write: `OurModel`, or anything that reads like it."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Path -> shape of every parameter."""

    def read(self, path: str) -> np.ndarray:
        """A parameter."""

    def adafactor(self) -> AdafactorShape | None:
        """What Adafactor's state is like; None where there is none."""

    def read_statistic(
        self, state: AdafactorShape, name: str, path: str, shape: tuple[int, ...]
    ) -> np.ndarray:
        """One of Adafactor's statistics of a parameter."""


def write_t5x(
    source: Source,
    folder: Path,
    step: int,
    *,
    on_progress: Callable[[int], Any] = lambda tensors: None,
) -> bool:
    """Writes `checkpoint_<step>` into an existing folder; see `export_t5x`."""
    state = source.adafactor()
    shapes = adafactor_shapes(
        factored=state is None or state.factored,
        momentum=state is not None and state.momentum,
        shapes=source.shapes,
    )
    target: dict[str, LazyArray] = {}
    states: dict[str, LazyArray] = {}
    for path, shape in source.shapes.items():
        read = functools.partial(source.read, path)
        target[path] = _array(shape, path, read, on_progress=on_progress)
        for name in STATISTICS:
            kept = shapes[name][path]
            theirs = their_statistic(name, path, shape, path.startswith("layers/"))
            reads = None
            if state is not None:
                reads = functools.partial(source.read_statistic, state, name, path, kept)
            states[f"{path}/{theirs}"] = _array(kept, f"{name} of {path}", reads, sign(name))
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
    factor: np.float32 | float = 1.0,
    on_progress: Callable[[int], Any] = lambda tensors: None,
) -> LazyArray:
    """Float32, as T5X saves; zeros where there is nothing to read."""

    def fill(out: np.ndarray) -> None:
        out[...] = 0.0 if read is None else read() * factor
        if not np.isfinite(out).all():
            raise ValueError(f"{path} holds numbers that are not finite")
        on_progress(1)

    return LazyArray(shape, np.dtype(np.float32), fill)


def model_gin(config: ModelConfig) -> str:
    """The network's sizes and switches as gin text, like `configs/models/*.gin`."""
    values = config.to_json()
    scaling = values.pop("rope_scaling")
    lines = [f"ModelConfig.{name} = {value!r}" for name, value in values.items()]
    if scaling is not None:  # an object, which gin makes of its own settings
        lines += ["ModelConfig.rope_scaling = @RopeScaling()", ""]
        lines += [f"RopeScaling.{name} = {value!r}" for name, value in scaling.items()]
    return "\n".join(["MODEL = @ModelConfig()", "", *lines, ""])
