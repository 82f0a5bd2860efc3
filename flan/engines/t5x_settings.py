"""What of a run's settings T5X can carry out, and how to say what it cannot."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from typing import Any

from flan.training.settings import RunConfig

log = logging.getLogger("flan")

RECIPE = "docs/t5x.md"
# What T5X imports and we do not need; the extra `t5x` has those of PyPI.
_NEEDED = (
    *("t5x", "airio", "jestimator"),
    *("cached_property", "clu", "fiddle", "grain", "jaxtyping", "tensorboard"),
)
# Settings that are T5X's too, or none of its business; any other must have its default.
_UNDERSTOOD = {
    "RunConfig": {
        *("model_dir", "data", "loop", "model", "over_model", "batch_size", "optimizer", "step"),
        "mesh",
        *("initial_checkpoint_path", "vocabulary", "seed", "on_damaged", "eval_rows"),
        "wandb_project",
    },
    "LoopConfig": {"steps", "log_every", "save_every", "keep", "eval_every"},
    "OptimizerConfig": {
        *("learning_rate", "schedule", "warmup_steps", "decay_steps", "clip_norm"),
        *("scale_by_parameters", "decay_rate", "clip_update", "momentum", "weight_decay"),
        *("weight_decay_lr_exponent", "beta1", "beta2", "epsilon"),
    },
    "StepConfig": {"loss"},
    "MeshConfig": {"data", "model"},
}


def check_installed() -> None:
    """ValueError with the place of the recipe where T5X is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--engine=t5x: this environment lacks {', '.join(missing)}. {RECIPE} has the recipe "
            "(T5X's source is on GitHub, not on PyPI); or leave --engine out to train with ours"
        )


def check_settings(config: RunConfig) -> None:
    """ValueError naming all settings that T5X cannot carry out; warns of evaluations."""
    refused: list[str] = []
    for part in (config, config.loop, config.optimizer, config.step, config.mesh):
        refused += _refused(part)
    param_dtype = config.over_model.get("param_dtype", "float32")
    if config.model is not None:
        param_dtype = config.model.param_dtype
    if param_dtype != "float32":
        refused.append(f"ModelConfig.param_dtype = {param_dtype!r}")
    if refused:
        raise ValueError(
            f"--engine=t5x cannot do {', '.join(refused)}: leave these out, or --engine"
        )
    if config.loop.evaluates:
        log.warning("T5X scores no dev rows while it trains; `flan eval` scores its checkpoints")


def _refused(part: Any) -> list[str]:
    name = type(part).__name__
    return [
        f"{name}.{field.name} = {value!r}"
        for field in dataclasses.fields(part)
        if field.name not in _UNDERSTOOD[name]
        and (value := getattr(part, field.name)) != _default(field)
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
