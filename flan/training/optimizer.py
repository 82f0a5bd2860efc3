"""Optimizers from optax, with each layer of the scanned stack treated as a tensor of its own."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning-rate schedule.

    The defaults are FLAN's: Adafactor, constant 3e-5 (arXiv 2109.01652, section 2.4).

    Attributes:
      name: `adafactor` (arXiv 1804.04235) or `adamw`.
      learning_rate: peak.
      schedule: `constant`, `rsqrt` (peak x sqrt(warmup / step) after the warm-up, T5's
        pretraining schedule), `linear` or `cosine` (both fall to 0 at `decay_steps`).
      warmup_steps: linear rise from 0.
      decay_steps: length of `linear` and `cosine`, warm-up included.
      clip_norm: clips the gradient's global norm; None leaves it.
      factored: keep Adafactor's second moments as row and column means.
      scale_by_parameters: multiply Adafactor's step by the parameter's RMS, as T5's
        pretraining did (with learning rates near 1e-2); off for FLAN's 3e-5.
      decay_rate: exponent of Adafactor's second-moment decay.
      clip_update: clips Adafactor's update RMS of each tensor.
      momentum: Adafactor's first moment; None keeps none.
      weight_decay: decoupled, scaled by the learning rate.
      beta1, beta2, epsilon: AdamW's.
    """

    name: Literal["adafactor", "adamw"] = "adafactor"
    learning_rate: float = 3e-5
    schedule: Literal["constant", "rsqrt", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    decay_steps: int | None = None
    clip_norm: float | None = None
    factored: bool = True
    scale_by_parameters: bool = False
    decay_rate: float = 0.8
    clip_update: float = 1.0
    momentum: float | None = None
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-8


def make_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Learning rate by step (0 for the first); ValueError for an incomplete or unknown schedule."""
    peak, warmup = config.learning_rate, config.warmup_steps
    after: Any
    if config.schedule == "constant":
        after = optax.constant_schedule(peak)
    elif config.schedule == "rsqrt":
        after = _rsqrt(peak, max(warmup, 1))
    elif config.schedule in ("linear", "cosine"):
        if not config.decay_steps or config.decay_steps <= warmup:
            raise ValueError(
                f"schedule {config.schedule!r} needs decay_steps above warmup_steps "
                f"({warmup}), got {config.decay_steps}"
            )
        length = config.decay_steps - warmup
        if config.schedule == "linear":
            after = optax.linear_schedule(peak, 0.0, length)
        else:
            after = optax.cosine_decay_schedule(peak, length)
    else:
        raise ValueError(
            f"schedule must be constant, rsqrt, linear or cosine, got {config.schedule!r}"
        )
    if not warmup:
        return after
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def _rsqrt(peak: float, offset: int) -> optax.Schedule:
    # Joined schedules are evaluated before their turn too, at negative steps.
    return lambda step: peak * (offset / (offset + jnp.maximum(step, 0))) ** 0.5


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """The optax transformation; ValueError for an unknown name."""
    schedule = make_schedule(config)
    if config.name == "adafactor":
        tx = optax.adafactor(
            schedule,
            decay_rate=config.decay_rate,
            multiply_by_parameter_scale=config.scale_by_parameters,
            clipping_threshold=config.clip_update,
            momentum=config.momentum,
            weight_decay_rate=config.weight_decay or None,
            factored=config.factored,
        )
    elif config.name == "adamw":
        tx = optax.adamw(
            schedule,
            b1=config.beta1,
            b2=config.beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
        )
    else:
        raise ValueError(f"optimizer must be adafactor or adamw, got {config.name!r}")
    tx = per_layer(tx)
    if config.clip_norm is not None:
        tx = optax.chain(optax.clip_by_global_norm(config.clip_norm), tx)
    return tx


def per_layer(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """`tx` applied to each layer of the stacked parameters as if the layers were not stacked.

    Parameters under the key `layers` have a leading layer axis. Adafactor factors, clips
    and scales by whole tensors; over a stack it would mix the layers' statistics.
    """

    def split(tree: Any) -> tuple[Any, Any]:
        return tree["layers"], {k: v for k, v in tree.items() if k != "layers"}

    def init(params: Any) -> Any:
        layers, rest = split(params)
        return {"layers": jax.vmap(tx.init)(layers), "rest": tx.init(rest)}

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        layer_grads, rest_grads = split(grads)
        layers, rest = split(params)
        layer_updates, layer_state = jax.vmap(tx.update)(layer_grads, state["layers"], layers)
        rest_updates, rest_state = tx.update(rest_grads, state["rest"], rest)
        return {"layers": layer_updates, **rest_updates}, {
            "layers": layer_state,
            "rest": rest_state,
        }

    return optax.GradientTransformation(init, update)
