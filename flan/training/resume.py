"""Going on where a run left off: from its newest checkpoint, or the newest sound one.

What a run's folder holds is checked before anything is written there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from flan.checkpoints import layout
from flan.checkpoints.differences import differences
from flan.checkpoints.integrity import same_shapes
from flan.checkpoints.manager import (
    CheckpointError,
    CheckpointManager,
    DamagedCheckpointError,
    check_same_model,
)
from flan.data.vocabulary import Vocabulary, load_vocabulary
from flan.models.config import ModelConfig
from flan.training.start import start_of
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
    settings: Mapping[str, Mapping[str, Any]],
    steps: int,
    abstract: TrainState,
    on_damaged: OnDamaged,
) -> dict[str, Any] | None:
    """What the checkpoint to go on from says; None where there is none yet.

    Writes nothing. Raises CheckpointError for a run of another model, vocabulary, optimizer or
    objective, and for a damaged checkpoint (see `restore_newest`).

    Args:
      settings: `optimizer` and `objective`, as the metadata has them.
      steps: of the run in all.
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
        (step, (before, arrays)), _ = _newest_sound(
            reader, lambda step: (step, reader.described(step)), on_damaged
        )
    finally:
        reader.close()
    if before.get("vocabulary_fingerprint") != vocabulary.fingerprint:
        raise another(model_dir, "vocabulary")
    for what, here in settings.items():
        # A schedule that ends with the run is longer in a longer one.
        free = ("decay_steps",) if step < steps else ()
        if found := differences(before.get(what), here, free):
            raise another(model_dir, f"{what} ({found})")
    if arrays is not None and not same_shapes(abstract._asdict(), arrays):
        raise another(model_dir, "optimizer")
    return before


def start_to_keep(
    model_dir: Path, before: Mapping[str, Any], path: str | None
) -> dict[str, Any] | None:
    """What a run that goes on began from, for its metadata (see `flan.training.start.start_of`).

    A model that was moved is the same; one that was trained on is not.

    Args:
      model_dir: of the run.
      before: metadata of its checkpoint.
      path: INITIAL_CHECKPOINT_PATH now.

    Raises CheckpointError where it began from something else.
    """
    there, began = before.get("initial_checkpoint_path"), before.get("initial")
    if path is None and there is None:
        return None
    what = f"initial checkpoint ({there} there, {path} here)"
    if path is None or there is None:
        raise another(model_dir, what)
    folder, step = layout.split_step(_place(path))
    same_folder = folder == layout.split_step(_place(there))[0]
    if began is None:  # a run of an earlier version, which noted the path alone
        if _place(path) != _place(there):
            raise another(model_dir, what)
        return None
    # What it began from need not be there any more.
    if same_folder and (step == began["step"] or not folder.exists()):
        return dict(began)
    found = start_of(Path(path).expanduser())
    if found["parameters"] != began["parameters"]:
        if same_folder and step is None:
            what = (
                f"initial checkpoint (step {began['step']} of {folder}, which is at step "
                f"{found['step']} now: give {folder / layout.CHECKPOINTS / str(began['step'])})"
            )
        raise another(model_dir, what)
    return dict(began)


def _place(path: str) -> Path:
    return Path(path).expanduser().resolve()


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
