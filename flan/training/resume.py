"""Going on where a run left off: from its newest checkpoint, or the newest sound one.

What a run's folder holds is checked before anything is written there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from flan.checkpoints import layout
from flan.checkpoints.integrity import same_shapes
from flan.checkpoints.manager import (
    CheckpointError,
    CheckpointManager,
    DamagedCheckpointError,
    check_same_model,
)
from flan.data.vocabulary import Vocabulary, load_vocabulary
from flan.models.config import ModelConfig
from flan.training.state import TrainState

log = logging.getLogger("flan")

OnDamaged = Literal["error", "previous"]
T = TypeVar("T")


def another(model_dir: Path, what: str) -> CheckpointError:
    """The error for going on with other settings than a run began with."""
    return CheckpointError(
        f"{model_dir} holds a run on another {what}: it cannot be resumed with these settings. "
        f"Use its own settings ({layout.CONFIG_FILE} there), or another MODEL_DIR"
    )


def metadata_before(
    model_dir: Path,
    model_config: ModelConfig,
    vocabulary: Vocabulary,
    optimizer: dict[str, Any],
    abstract: TrainState,
    on_damaged: OnDamaged,
) -> dict[str, Any] | None:
    """What the checkpoint to go on from says; None where there is none yet.

    Writes nothing. Raises CheckpointError for a run of another model, vocabulary or
    optimizer, and for a damaged checkpoint (see `restore_newest`).
    """
    if (model_dir / layout.MODEL_FILE).is_file():
        check_same_model(layout.read_model_config(model_dir), model_config, model_dir)
    stored = model_dir / layout.VOCABULARY
    # Also before the first checkpoint: the copy is what the checkpoints will be read with.
    if stored.is_dir() and load_vocabulary(stored).fingerprint != vocabulary.fingerprint:
        raise another(model_dir, "vocabulary")
    if not (model_dir / layout.CHECKPOINTS).is_dir():
        return None
    reader = CheckpointManager(model_dir, read_only=True)
    try:
        if not reader.steps():
            return None
        (before, arrays), _ = _newest_sound(reader, reader.described, on_damaged)
    finally:
        reader.close()
    if before.get("vocabulary_fingerprint") != vocabulary.fingerprint:
        raise another(model_dir, "vocabulary")
    if arrays is not None and not same_shapes(abstract._asdict(), arrays):
        raise another(model_dir, _other_optimizer(before.get("optimizer"), optimizer))
    return before


def restore_newest(
    manager: CheckpointManager, abstract: TrainState, on_damaged: OnDamaged
) -> TrainState:
    """The state of the newest checkpoint, or of the newest sound one.

    Args:
      manager: a writer's; holds one checkpoint or more.
      abstract: shapes, dtypes, shardings.
      on_damaged: `error` refuses a damaged checkpoint and offers the one before it;
        `previous` goes on from that one and sets the damaged ones aside, once it is known
        that there is a sound one.

    Raises:
      CheckpointError: the newest is damaged (`error`), or all are.
    """
    (state, _), damaged = _newest_sound(
        manager, lambda step: manager.restore(abstract, step), on_damaged
    )
    if damaged:
        manager.set_aside(damaged)
        log.warning(
            "*** damaged checkpoints of steps %s were moved to %s; going on from step %d ***",
            damaged,
            manager.folder.parent / layout.DAMAGED,
            int(state.step),
        )
    return state


def _newest_sound(
    manager: CheckpointManager, read: Callable[[int], T], on_damaged: OnDamaged
) -> tuple[T, list[int]]:
    """What `read` gives of the newest checkpoint that it can read, and those that it could not."""
    damaged: list[int] = []
    for step in reversed(manager.steps()):
        try:
            return read(step), damaged
        except DamagedCheckpointError as error:
            if on_damaged == "error":
                raise _with_offer(error) from error
            log.warning("%s", error)
            damaged.append(step)
    raise CheckpointError(
        f"none of the checkpoints in {manager.folder} can be read (steps {damaged[::-1]}); nothing "
        "was moved. Start anew in another MODEL_DIR"
    )


def _with_offer(error: DamagedCheckpointError) -> DamagedCheckpointError:
    offer = "Start anew in another MODEL_DIR"
    if error.before is not None:
        offer = (
            f"To go on from step {error.before}, run the same command with "
            f"--gin.ON_DAMAGED=previous; it moves the damaged one to {layout.DAMAGED}/ there"
        )
    return DamagedCheckpointError(f"{error}. {offer}", error.step, error.before)


def _other_optimizer(there: Any, here: dict[str, Any]) -> str:
    """Says "optimizer", and in which settings it differs."""
    here = json.loads(json.dumps(here))
    there = there if isinstance(there, dict) else {}
    differences = [
        f"{name} is {there[name]!r} there, {value!r} here"
        for name, value in here.items()
        if name in there and there[name] != value
    ]
    return f"optimizer ({'; '.join(differences)})" if differences else "optimizer"
