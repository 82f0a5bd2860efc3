"""What a checkpoint was trained on, as it says itself (see `flan.data.training_record`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan.checkpoints import layout
from flan.checkpoints.manager import CheckpointManager
from flan.data import atomic
from flan.data.training_record import (
    FORMAT,
    RECORD_FILE,
    ROWS_FILE,
    TrainingRecord,
    read_record,
)
from flan.json_file import read_object

METADATA = "training_data"  # the entry of a checkpoint's metadata


def is_prefix_lm(metadata: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's metadata say that it was trained to read inputs both ways."""
    return bool(metadata.get("objective", {}).get("prefix_lm", False))


def checkpoint_record(path: Path, step: int | None = None) -> TrainingRecord | None:
    """The record in a checkpoint, else in its model folder; None where there is none.

    Args:
      path: a model folder, or one of its `checkpoints/<step>`.
      step: which checkpoint; the newest by default.

    Raises:
      CheckpointError: there is no such checkpoint, or it cannot be read.
      ValueError: a damaged record.
    """
    model_dir, named = layout.split_step(path)
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


def record_files(source: Path, kind: str) -> dict[str, bytes]:
    """The files that give what a model is converted to its record; none where it has none.

    Args:
      source: a model folder of ours, one of its checkpoints, or a foreign model, which an
        earlier conversion may have given a record.
      kind: `flan` for ours; `t5x`, or another foreign kind.

    Raises CheckpointError or ValueError for a damaged record of ours. What foreign models
    keep under that name may be anything, and is no record then.
    """
    if kind == "flan":
        folder, _ = layout.split_step(source)
        there = (folder / layout.CHECKPOINTS).is_dir()
        record = checkpoint_record(source) if there else None
    else:
        folder = source
        if kind == "t5x" and not (source / RECORD_FILE).is_file():
            # T5X keeps checkpoints as folders inside the one that has the record.
            folder = source.parent if source.name.startswith("checkpoint_") else source
        record = _record_unless_foreign(folder)
    if record is None:
        return {}
    files = {RECORD_FILE: atomic.json_bytes(record.to_json())}
    if (folder / ROWS_FILE).is_file():
        files[ROWS_FILE] = (folder / ROWS_FILE).read_bytes()
    return files


def _record_unless_foreign(folder: Path) -> TrainingRecord | None:
    try:
        value = read_object(folder / RECORD_FILE)
    except (ValueError, OSError):
        return None
    return read_record(folder) if value.get("format") == FORMAT else None
