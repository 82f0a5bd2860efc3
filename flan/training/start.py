"""What a run starts from: its model, its vocabulary, the checkpoint it takes parameters of.

Nothing here writes: a run that cannot start leaves no trace.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import jax

from flan.checkpoints import layout
from flan.checkpoints.manager import (
    CheckpointError,
    CheckpointManager,
    check_same_model,
    split_step,
)
from flan.data.vocabulary import Vocabulary
from flan.models.config import ModelConfig
from flan.training.state import TrainState

log = logging.getLogger("flan")


def choose_model(model: ModelConfig | None, initial: Path | None) -> ModelConfig:
    """The network that was asked for, or the initial checkpoint's."""
    if initial:
        source, _ = split_step(initial)
        if not source.is_dir():
            raise FileNotFoundError(f"INITIAL_CHECKPOINT_PATH {initial}: no such folder")
        found = layout.read_model_config(source)
        if model is None:
            return found
        if model.vocab_size == 0:
            # The checkpoint's embedding decides; the other sizes are compared below.
            return dataclasses.replace(model, vocab_size=found.vocab_size)
        return model
    if model is None:
        raise ValueError(
            "no model: give --gin_file=configs/models/tiny.gin (or another size), or "
            "--gin.INITIAL_CHECKPOINT_PATH=FOLDER to take the sizes from a checkpoint"
        )
    return model


def choose_vocabulary(
    folder: str | None, model_dir: Path, initial: Path | None, make: Callable[[str | None], Path]
) -> Path:
    """The vocabulary asked for, else the one of the resumed run, the initial checkpoint, the data."""
    if folder:
        return make(folder)
    candidates = [model_dir / layout.VOCABULARY]
    if initial:
        source, _ = split_step(initial)
        candidates.append(source / layout.VOCABULARY)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    return make(None)


def check_initial(path: Path, model_config: ModelConfig, vocabulary: Vocabulary) -> None:
    """CheckpointError unless a run of this model and vocabulary can start from a checkpoint."""
    source, step = split_step(path)
    check_same_model(layout.read_model_config(source), model_config, source)
    reader = CheckpointManager(source, read_only=True)
    try:
        _, metadata = reader.metadata(step)
    finally:
        reader.close()
    stored = metadata.get("vocabulary_fingerprint")
    if stored and stored != vocabulary.fingerprint:
        raise CheckpointError(
            f"{source} was trained with another vocabulary (fingerprint {stored[:12]}) than the "
            f"run's ({vocabulary.fingerprint[:12]}); leave VOCABULARY unset to use the checkpoint's"
        )


def with_initial_params(state: TrainState, initial: Path) -> TrainState:
    """The state with the parameters of a checkpoint; CheckpointError if it cannot be read."""
    source, step = split_step(initial)
    abstract = jax.tree.map(
        lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=p.sharding), state.params
    )
    reader = CheckpointManager(source, read_only=True)
    try:
        params, found, _ = reader.restore_params(abstract, step)
    finally:
        reader.close()
    log.info("starting from %s, step %d", source, found)
    return state._replace(params=params)
