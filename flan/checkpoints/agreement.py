"""Whether `model.json` and a checkpoint are of the same network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from flan.checkpoints import integrity
from flan.checkpoints.differences import differences
from flan.checkpoints.manager import RUNTIME_SETTINGS, CheckpointError, CheckpointManager
from flan.models.config import ModelConfig
from flan.training.state import init_params


def check_agreement(manager: CheckpointManager, config: ModelConfig, step: int) -> None:
    """CheckpointError where a checkpoint is of another network than `config`.

    Orbax reads what it is asked for: without this, parameters that a changed `model.json`
    does not have would be left out in silence.
    """
    metadata, arrays = manager.described(step)
    where = manager.folder / str(step)
    _check_entries(metadata.get("model"), config, where)
    if arrays is None:
        tree = manager.stored_tree(step).get("params", {})
        stored = {
            integrity.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)
        }
    else:
        stored = {n.removeprefix("params/") for n in arrays if n.startswith("params/")}
    shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    used = {integrity.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)}
    if unused := sorted(stored - used):
        raise CheckpointError(
            f"{where} has parameters that the network in model.json has not: "
            f"{', '.join(unused[:5])}; restore the model.json that it was trained with"
        )


def _check_entries(stated: Any, config: ModelConfig, where: Path) -> None:
    """Compares with the config in the metadata, where there is one."""
    found = differences(stated, config.to_json(), RUNTIME_SETTINGS, "in model.json")
    if found:
        raise CheckpointError(
            f"{where} is of another network than model.json says: {found}; "
            "restore the model.json that it was trained with"
        )
