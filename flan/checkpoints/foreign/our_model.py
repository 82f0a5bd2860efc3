"""Our own model folder, read one parameter at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan.checkpoints import layout
from flan.checkpoints.agreement import check_agreement
from flan.checkpoints.foreign.names import parameter_shapes
from flan.checkpoints.manager import CheckpointError, CheckpointManager
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
      config: the network. LoRA that was trained on it is merged as it is read.
      step: gradient steps it has had.
      metadata: what was written beside the parameters.
      vocabulary: its vocabulary, checked against the network's size.
      vocabulary_dir: where that lies.

    Raises from the constructor FileNotFoundError or ValueError where there is no whole model.
    """

    def __init__(self, path: Path):
        self.path, named = layout.split_step(path)
        stored = layout.read_model_config(self.path)
        if stored.prompt_ids:
            raise ValueError(
                f"{self.path} has a soft prompt, which other libraries' models have no place for: "
                "convert the model that it was tuned on"
            )
        self.config, self._lora = stored.plain, stored.lora
        self._adapted = stored.adapter is not None
        self.shapes = parameter_shapes(self.config)
        self._manager = CheckpointManager(self.path, read_only=True)
        self.step, self.metadata = self._manager.metadata(named)
        check_agreement(self._manager, stored, self.step)
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
        dtype = np.dtype(self.config.param_dtype)
        shape = self.shapes[path]
        found = self._parameter(path, shape, dtype)
        module, _, leaf = path.rpartition("/")
        lora = self._lora(module.rpartition("/")[2]) if leaf == "kernel" else None
        if lora is None:
            return found
        *layers, inner, outer = shape
        float32 = np.dtype(np.float32)
        a = self._parameter(f"{module}/lora_a", (*layers, inner, lora.rank), float32)
        b = self._parameter(f"{module}/lora_b", (*layers, lora.rank, outer), float32)
        return (found.astype(float32) + np.float32(lora.scale) * np.matmul(a, b)).astype(dtype)

    def _parameter(self, path: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return self._read(("params", *path.split("/")), shape, dtype)

    def adafactor(self) -> AdafactorShape | None:
        """What Adafactor's state in the checkpoint is like; None where there is none.

        LoRA's is of no use to the merged parameters.
        """
        if self._adapted:
            return None
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
