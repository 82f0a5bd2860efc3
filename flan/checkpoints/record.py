"""What a checkpoint was trained on, as it says itself (see `flan.data.training_record`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan.checkpoints import layout
from flan.checkpoints.manager import CheckpointManager
from flan.data import atomic
from flan.data.training_record import RECORD_FILE, ROWS_FILE, TrainingRecord, read_record

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


def carry_record(source: Path, out: Path) -> None:
    """Gives a converted model the record of what it was converted from, where there is one.

    Args:
      source: a model folder of ours, one of its checkpoints, or a folder that an earlier
        conversion gave a record.
      out: the finished conversion.
    """
    model_dir, _ = layout.split_step(source)
    if (model_dir / layout.CHECKPOINTS).is_dir():
        record, folder = checkpoint_record(source), model_dir
    else:
        # T5X keeps checkpoints as folders inside the one that has the record.
        places = [p for p in (source, source.parent) if (p / RECORD_FILE).is_file()]
        folder = places[0] if places and source.is_dir() else source
        record = read_record(folder)
    if record is None:
        return
    if (folder / ROWS_FILE).is_file():
        atomic.write_file(out / ROWS_FILE, (folder / ROWS_FILE).read_bytes())
    atomic.write_json(out / RECORD_FILE, record.to_json())
