"""What a checkpoint was trained on, as it says itself (see `flan.data.training_record`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan.checkpoints.manager import CheckpointManager, split_step
from flan.data.training_record import TrainingRecord, read_record

METADATA = "training_data"  # the entry of a checkpoint's metadata


def checkpoint_record(path: Path, step: int | None = None) -> TrainingRecord | None:
    """The record in a checkpoint, else in its model folder; None where there is none.

    Args:
      path: a model folder, or one of its `checkpoints/<step>`.
      step: which checkpoint; the newest by default.

    Raises:
      CheckpointError: there is no such checkpoint, or it cannot be read.
      ValueError: a damaged record.
    """
    model_dir, named = split_step(path)
    reader = CheckpointManager(model_dir, read_only=True)
    try:
        _, metadata = reader.metadata(named if step is None else step)
    finally:
        reader.close()
    return record_in(metadata, model_dir)


def record_in(metadata: Mapping[str, Any], model_dir: Path) -> TrainingRecord | None:
    """The record in a checkpoint's metadata, else in its model folder; ValueError if damaged."""
    if (value := metadata.get(METADATA)) is None:
        return read_record(model_dir)
    try:
        return TrainingRecord.from_json(value)
    except ValueError as error:
        raise ValueError(f"{model_dir}, {METADATA} of a checkpoint: {error}") from error
