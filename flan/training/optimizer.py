"""Optimizers and learning-rate schedules, as optax transformations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from flan.training.adafactor import Adafactor


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning-rate schedule.

    The defaults are FLAN's: Adafactor, constant 3e-5 (arXiv 2109.01652, section 2.4). A
    ValueError names settings that are out of range, or would do nothing.

    Attributes:
      name: `adafactor` (arXiv 1804.04235) or `adamw`.
      learning_rate: peak.
      schedule: `constant`, `rsqrt` (peak x sqrt(warmup / step) after the warm-up, T5's
        pretraining schedule), `linear` or `cosine` (both fall to 0 at `decay_steps`).
      warmup_steps: linear rise; the first step takes its first stair, not 0.
      decay_steps: length of `linear` and `cosine`, warm-up included.
      clip_norm: clips the gradient's global norm; None leaves it.
      factored: keep Adafactor's second moments as row and column means.
      scale_by_parameters: multiply Adafactor's step by the parameter's RMS, as T5's
        pretraining did (with learning rates near 1e-2); off for FLAN's 3e-5.
      decay_rate: exponent of Adafactor's second-moment decay.
      clip_update: clips Adafactor's update RMS of each tensor; None leaves it.
      momentum: Adafactor's first moment; None keeps none.
      weight_decay: decoupled, scaled by the learning rate.
      weight_decay_lr_exponent: Adafactor's decay is scaled by the learning rate to this
        power; 0 is T5X's default.
      beta1, beta2, epsilon: AdamW's.
      ema_decay: keep a moving average of the parameters, in the checkpoints too (`flan eval
        --ema` reads it); None keeps none.
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
    clip_update: float | None = 1.0
    momentum: float | None = None
    weight_decay: float = 0.0
    weight_decay_lr_exponent: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-8
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("optimizer", self.name, tuple(_OWN)),
            ("schedule", self.schedule, ("constant", "rsqrt", "linear", "cosine")),
        ):
            if value not in choices:
                raise ValueError(f"{what} must be one of {', '.join(choices)}, got {value!r}")
        for names, fits, expected in _RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not (math.isfinite(value) and fits(value)):
                    raise ValueError(f"OptimizerConfig.{name} must be {expected}, got {value}")
        if self.schedule in ("linear", "cosine"):
            if not self.decay_steps or self.decay_steps <= self.warmup_steps:
                raise ValueError(
                    f"schedule {self.schedule!r} needs decay_steps above warmup_steps "
                    f"({self.warmup_steps}), got {self.decay_steps}"
                )
        elif self.decay_steps is not None:
            raise ValueError(
                f"OptimizerConfig.decay_steps = {self.decay_steps} does nothing with schedule "
                f"{self.schedule!r}: set it to None, or the schedule to linear or cosine"
            )
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for optimizer, names in _OWN.items():
            for name in names:
                if optimizer != self.name and getattr(self, name) != defaults[name]:
                    raise ValueError(
                        f"OptimizerConfig.{name} = {getattr(self, name)} does nothing with "
                        f"{self.name}, it is {optimizer}'s: leave it at {defaults[name]}"
                    )


# Settings that one optimizer alone knows.
_OWN = {
    "adafactor": (
        *("factored", "scale_by_parameters", "decay_rate", "clip_update", "momentum"),
        "weight_decay_lr_exponent",
    ),
    "adamw": ("beta1", "beta2", "epsilon"),
}
_RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (
        ("learning_rate", "warmup_steps", "weight_decay", "weight_decay_lr_exponent"),
        lambda x: x >= 0,
        "0 or more",
    ),
    (("clip_norm", "clip_update", "decay_rate", "epsilon"), lambda x: x > 0, "above 0"),
    (
        ("momentum", "beta1", "beta2", "ema_decay"),
        lambda x: 0 <= x < 1,
        "at least 0 and below 1",
    ),
)


def make_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Learning rate by step, from 0.

    `constant` and `rsqrt` equal T5X's `constant * linear_warmup * rsqrt_normalized_decay` (its
    second and third factor where asked for) with `step_offset=-1`: it counts steps from 0, and
    the first would not learn.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    after: Any
    if config.schedule == "constant":
        after = optax.constant_schedule(peak)
    elif config.schedule == "rsqrt":
        after = _rsqrt(peak, warmup)
    else:
        assert config.decay_steps is not None
        length = config.decay_steps - warmup
        if config.schedule == "linear":
            after = optax.linear_schedule(peak, 0.0, length)
        else:
            after = optax.cosine_decay_schedule(peak, length)
    if not warmup:
        return after
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def _rsqrt(peak: float, warmup: int) -> optax.Schedule:
    # Joined schedules count from the joint and are evaluated before their turn too.
    return lambda step: peak * (max(warmup, 1) / (warmup + 1 + jnp.maximum(step, 0))) ** 0.5


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """The optax transformation."""
    schedule = make_schedule(config)
    if config.name == "adafactor":
        tx = Adafactor(
            schedule,
            factored=config.factored,
            scale_by_parameters=config.scale_by_parameters,
            decay_rate=config.decay_rate,
            clip_update=config.clip_update,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            weight_decay_lr_exponent=config.weight_decay_lr_exponent,
        ).transformation()
    else:
        tx = optax.adamw(
            schedule,
            b1=config.beta1,
            b2=config.beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
        )
        tx = _in_float32(tx)
    if config.clip_norm is not None:
        tx = optax.chain(optax.clip_by_global_norm(config.clip_norm), tx)
    if config.ema_decay is not None:
        tx = with_average(tx, config.ema_decay)
    return tx


def _in_float32(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """`tx` seeing float32 parameters, for whose dtype optax keeps its moments."""

    def cast(params: Any) -> Any:
        return jax.tree.map(lambda p: p.astype(jnp.float32), params)

    return optax.GradientTransformation(
        lambda params: tx.init(cast(params)),
        lambda grads, state, params=None: tx.update(grads, state, cast(params)),
    )


class AverageState(NamedTuple):
    """State of `with_average`: the optimizer's own, and the averaged parameters in float32."""

    step: jax.Array
    ema: Any
    inner: Any


def with_average(tx: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """`tx`, and beside it an exponential moving average of the parameters.

    The average begins with the parameters that the first update is given, so that a run
    from a checkpoint averages from there.
    """

    def init(params: Any) -> AverageState:
        ema = jax.tree.map(lambda p: p.astype(jnp.float32), params)
        return AverageState(jnp.zeros((), jnp.int32), ema, tx.init(params))

    def update(grads: Any, state: AverageState, params: Any = None) -> tuple[Any, AverageState]:
        updates, inner = tx.update(grads, state.inner, params)
        begun = jax.tree.map(lambda e, p: jnp.where(state.step == 0, p, e), state.ema, params)
        after = optax.apply_updates(params, updates)
        ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, begun, after)
        return updates, AverageState(state.step + 1, ema, inner)

    return optax.GradientTransformation(init, update)
