"""A trained model's parameters, ready to be evaluated."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from flan.checkpoints import layout
from flan.checkpoints.agreement import check_agreement
from flan.checkpoints.manager import CheckpointManager
from flan.models.config import ModelConfig
from flan.models.merge import merged
from flan.training.state import init_params
from flan.training.trainable import split


@dataclasses.dataclass(frozen=True)
class InferenceCheckpoint:
    """A model ready to be evaluated.

    Attributes:
      params: the parameters, float32 or bfloat16 as stored; LoRA is merged into them.
      model_config: the network.
      vocabulary_dir: its vocabulary.
      step: gradient steps it has had.
      metadata: what training wrote: seeds, receipt hash, vocabulary fingerprint, gin.
    """

    params: Any
    model_config: ModelConfig
    vocabulary_dir: Path
    step: int
    metadata: dict[str, Any]


def load_for_inference(
    path: str | Path,
    step: int | Literal["best"] | None = None,
    shardings: Any = None,
    ema: bool = False,
) -> InferenceCheckpoint:
    """A trained model from its folder (or one of its `checkpoints/<step>` folders).

    Args:
      path: the folder.
      step: which checkpoint, `best` for the one with the best dev scores; the newest by
        default.
      shardings: a tree of shardings like the stored parameters (LoRA's among them), for a
        mesh; else one device.
      ema: the averaged parameters (float32) instead of the last ones.

    Raises:
      FileNotFoundError: there is no such folder, or it holds no model.
      CheckpointError: it holds no finished checkpoint of that step, or a damaged one, or no
        averaged parameters.
    """
    model_dir, named = layout.split_step(Path(path))
    step = named if step is None else step
    if not model_dir.is_dir():
        raise FileNotFoundError(f"no checkpoint at {path}: the folder does not exist")
    config = layout.read_model_config(model_dir)
    if shardings is None:
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
        shardings = jax.tree.map(lambda _: device, shapes)
    manager = CheckpointManager(model_dir, read_only=True)
    try:
        number = manager.best_step() if step == "best" else step
        params, config, found, metadata = restore_merged(manager, config, shardings, number, ema)
    finally:
        manager.close()
    vocabulary = model_dir / layout.VOCABULARY
    return InferenceCheckpoint(params, config, vocabulary, found, metadata)


def restore_merged(
    manager: CheckpointManager,
    config: ModelConfig,
    shardings: Any,
    step: int | None = None,
    ema: bool = False,
) -> tuple[Any, ModelConfig, int, dict[str, Any]]:
    """Parameters with LoRA merged, the config of the network they are of, step and metadata.

    Args:
      manager: of the model folder.
      config: what was trained there.
      shardings: a tree of shardings like its parameters.
      step: of the checkpoint; the newest by default.
      ema: averaged ones (float32) of those that were trained.

    Raises CheckpointError as `CheckpointManager.restore_params` does.
    """
    shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    abstract = jax.tree.map(
        lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding),
        shapes,
        shardings,
    )
    averaged = None
    if ema:
        trained, abstract = split(config, abstract)
        averaged = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float32, sharding=s.sharding), trained
        )
    step = manager.pick(step)
    check_agreement(manager, config, step)
    params, found, metadata = manager.restore_params(abstract, step, averaged)
    params, plain = merged(params, config)
    return params, plain, found, metadata
