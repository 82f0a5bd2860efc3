"""Our own model folder, read one parameter at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan.checkpoints import layout
from flan.checkpoints.foreign.names import parameter_shapes
from flan.checkpoints.manager import CheckpointError, CheckpointManager, split_step
from flan.data.vocabulary import load_vocabulary


@dataclasses.dataclass(frozen=True)
class AdafactorShape:
    """Adafactor's state in a checkpoint.

    Attributes:
      place: keys that lead to it.
      step: updates done.
      factored: whether it keeps row and column means of any parameter.
      momentum: whether it keeps first moments.
    """

    place: tuple[str | int, ...]
    step: int
    factored: bool
    momentum: bool


class OurModel:
    """A checkpoint in a model folder.

    Attributes:
      path: the model folder.
      config: the network.
      step: gradient steps it has had.
      metadata: what was written beside the parameters.
      vocabulary: its vocabulary, checked against the network's size.
      vocabulary_dir: where that lies.

    Raises from the constructor FileNotFoundError or ValueError where there is no whole model.
    """

    def __init__(self, path: Path):
        self.path, named = split_step(path)
        self.config = layout.read_model_config(self.path)
        self.shapes = parameter_shapes(self.config)
        self._manager = CheckpointManager(self.path, read_only=True)
        self.step, self.metadata = self._manager.metadata(named)
        self.vocabulary_dir = self.path / layout.VOCABULARY
        self.vocabulary = load_vocabulary(self.vocabulary_dir)
        if self.vocabulary.vocab_size > self.config.vocab_size:
            raise CheckpointError(
                f"{self.path}: the vocabulary has {self.vocabulary.vocab_size:,} tokens, the "
                f"embedding {self.config.vocab_size:,} rows: it is another model's"
            )
        stated = self.metadata.get("vocabulary_fingerprint")
        if stated and stated != self.vocabulary.fingerprint:
            raise CheckpointError(
                f"{self.vocabulary_dir} is not the vocabulary that the checkpoint was trained with "
                f"(fingerprint {self.vocabulary.fingerprint[:12]}, it names {stated[:12]})"
            )

    @property
    def reads_start(self) -> bool:
        """Whether it reads the vocabulary's start token before a text."""
        return self.metadata.get("reads_start", True) is not False

    def read(self, path: str) -> np.ndarray:
        """A parameter, stacked over layers, as stored; CheckpointError for another shape."""
        keys = ("params", *path.split("/"))
        return self._read(keys, self.shapes[path], np.dtype(self.config.param_dtype))

    def adafactor(self) -> AdafactorShape | None:
        """What Adafactor's state in the checkpoint is like; None where there is none."""
        tree = self._manager.stored_tree(self.step).get("opt_state")
        place = _find_adafactor(tree)
        if place is None:
            return None
        for key in place:
            tree = tree[key]
        sizes = {
            name: {leaf.shape for leaf in jax.tree.leaves(tree[name])} for name in ("v_row", "m")
        }
        step = int(self._read(("opt_state", *place, "step"), (), np.dtype(np.int32)))
        return AdafactorShape(
            ("opt_state", *place), step, sizes["v_row"] != {(1,)}, sizes["m"] != {(1,)}
        )

    def read_statistic(
        self, state: AdafactorShape, name: str, path: str, shape: tuple[int, ...]
    ) -> np.ndarray:
        """One of Adafactor's statistics of a parameter, float32."""
        keys = (*state.place, name, *path.split("/"))
        return self._read(keys, shape, np.dtype(np.float32))

    def _read(
        self, keys: Sequence[str | int], shape: tuple[int, ...], dtype: np.dtype
    ) -> np.ndarray:
        tree: Any = jax.ShapeDtypeStruct(shape, dtype)
        for key in reversed(keys):
            # Nothing is read of a sequence's other places.
            tree = {key: tree} if isinstance(key, str) else [*[None] * key, tree]
        found, _ = self._manager.restore_part(tree, self.step)
        for key in keys:
            found = found[key]
        if found.shape != shape:
            name = "/".join(map(str, keys))
            raise CheckpointError(f"{self.path}: {name} has shape {found.shape}, expected {shape}")
        return np.asarray(found)

    def close(self) -> None:
        """Lets go of the folder."""
        self._manager.close()


def _find_adafactor(tree: Any) -> tuple[str | int, ...] | None:
    """Keys to Adafactor's state in an optimizer's, which may chain it with others."""
    if isinstance(tree, Mapping):
        if {"step", "v_row", "v_col", "v", "m"} == set(tree):
            return ()
        items: Any = tree.items()
    elif isinstance(tree, Sequence):
        items = enumerate(tree)
    else:
        return None
    for key, value in items:
        # A moving average is named as the parameters are, and may hold anything.
        if key != "ema" and (found := _find_adafactor(value)) is not None:
            return key, *found
    return None
