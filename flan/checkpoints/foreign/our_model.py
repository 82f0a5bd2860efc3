"""Our own model folder, read one parameter at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan.checkpoints import layout
from flan.checkpoints.foreign.names import parameter_shapes
from flan.checkpoints.manager import CheckpointError, CheckpointManager, split_step
from flan.data.vocabulary import load_vocabulary


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
        leaf = jax.ShapeDtypeStruct(self.shapes[path], np.dtype(self.config.param_dtype))
        tree: Any = leaf
        for key in reversed(path.split("/")):
            tree = {key: tree}
        found = self._manager.restore_params(tree, self.step)[0]
        for key in path.split("/"):
            found = found[key]
        if found.shape != leaf.shape:
            raise CheckpointError(
                f"{self.path}: {path} has shape {found.shape}, expected {leaf.shape}"
            )
        return np.asarray(found)

    def close(self) -> None:
        """Lets go of the folder."""
        self._manager.close()
