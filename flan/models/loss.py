"""Cross-entropy over target tokens, with logits computed only where there is loss.

Shapes: B batch, L length, N loss positions a row, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from flan.data.batch import Batch
from flan.models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Terms of the training loss.

    Attributes:
      z_loss: weight of log(Z)^2, which keeps logits near zero (T5X's default is 1e-4
        for pretraining; 0 here).
      label_smoothing: probability mass spread evenly over the other tokens, as in T5X; the
        loss that is left where the model predicts just that distribution is taken off.
    """

    z_loss: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}"
            )
        if self.z_loss < 0:
            raise ValueError(f"z_loss must be 0 or more, got {self.z_loss}")


def cross_entropy(logits: jax.Array, targets: jax.Array, config: LossConfig) -> jax.Array:
    """Loss of each position: float32 logits `[..., V]` and int32 targets `[...]` -> `[...]`."""
    log_z = jax.nn.logsumexp(logits, axis=-1)
    loss = log_z - _picked(logits, targets)
    if config.label_smoothing:
        right = 1 - config.label_smoothing
        other = config.label_smoothing / (logits.shape[-1] - 1)
        smooth = (right - other) * _picked(logits, targets) + other * jnp.sum(logits, axis=-1)
        entropy = -right * math.log(right) - config.label_smoothing * math.log(other)
        loss = log_z - smooth - entropy
    if config.z_loss:
        loss = loss + config.z_loss * jnp.square(log_z)
    return loss


def _picked(logits: jax.Array, targets: jax.Array) -> jax.Array:
    # A soft prompt's places, which have no loss, have targets beyond the vocabulary.
    return jnp.take_along_axis(logits, targets[..., None], axis=-1, mode="clip")[..., 0]


def loss_positions(weights: jax.Array, count: int) -> jax.Array:
    """The first `count` places of each row with weight, then arbitrary ones: `[B, L] -> [B, count]`.

    A stable sort by "has no weight" puts the weighted places first, in order.
    """
    return jnp.argsort(weights <= 0, axis=1, stable=True)[:, :count].astype(jnp.int32)


def weighted_loss(
    model: Transformer,
    params: Any,
    batch: Batch,
    config: LossConfig,
    *,
    max_targets: int | None = None,
    prefix_lm: bool = False,
    dropout_key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sum of the weighted losses of a batch, not yet divided by the weights.

    Args:
      model, params: the network.
      batch: `[B, L]` arrays.
      config: loss terms.
      max_targets: most loss positions in any row, as the packing plan guarantees; the
        vocabulary product then covers that many places instead of L. None: all L.
      prefix_lm: let the inputs of each example see one another in both directions.
      dropout_key: random key; None turns dropout off.

    Returns:
      The sum, and float32 sums `loss` (cross-entropy alone), `weight`, `correct`.
    """
    places = None
    targets, weights = jnp.asarray(batch.targets), jnp.asarray(batch.loss_weights)
    if max_targets is not None and max_targets < targets.shape[1]:
        places = loss_positions(weights, max_targets)
        targets = jnp.take_along_axis(targets, places, axis=1)
        weights = jnp.take_along_axis(weights, places, axis=1)
    bidirectional = (batch.loss_weights == 0) & (batch.segment_ids > 0) if prefix_lm else None
    logits: Any = model.apply(
        {"params": params},
        batch.tokens,
        batch.targets,
        batch.segment_ids,
        batch.positions,
        bidirectional,
        enable_dropout=dropout_key is not None,
        logit_positions=places,
        rngs={} if dropout_key is None else {"dropout": dropout_key},
    )
    losses = cross_entropy(logits, targets, config)
    total = jnp.sum(losses * weights)
    plain = losses if config == LossConfig() else cross_entropy(logits, targets, LossConfig())
    sums = {
        "loss": jnp.sum(plain * weights),
        "weight": jnp.sum(weights),
        # Right where no other token scores higher: the maximum is at hand from the softmax,
        # while an argmax over the vocabulary costs as much as the softmax itself.
        "correct": jnp.sum((_picked(logits, targets) >= jnp.max(logits, axis=-1)) * weights),
    }
    return total, sums
