"""Adafactor (arXiv 1804.04235) as T5X computes it, each layer of the stack a tensor of its own.

Parameters under a key `layers` are stacked: their axis 0 counts layers, and every mean below
is taken within a layer. Optax's Adafactor takes whole tensors and keeps its statistics in the
parameters' dtype, in which a bfloat16 mean would never move.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

_SQUARE_EPSILON = 1e-30  # the paper's epsilon_1
_SCALE_EPSILON = 1e-3  # epsilon_2


class AdafactorState(NamedTuple):
    """Float32 statistics, each a tree like the parameters; `[1]` where a statistic is not kept.

    Attributes:
      step: int32 scalar, updates done.
      v_row: means of squared gradients over the last axis.
      v_col: the same over the last axis but one.
      v: whole second moments, of parameters that are not factored.
      m: first moment of the updates, with momentum.
    """

    step: jax.Array
    v_row: Any
    v_col: Any
    v: Any
    m: Any


@dataclasses.dataclass(frozen=True)
class Adafactor:
    """Settings; `transformation` makes an optax optimizer of them.

    Attributes:
      learning_rate: by step, from 0.
      factored: keep the second moments of matrices as row and column means (section 3).
        Stacked matrices are factored whatever their size, single ones if both sides have
        `min_size_to_factor` or more: T5X's rules.
      scale_by_parameters: relative step sizes (section 8).
      decay_rate: second moments decay by 1 - step ** -decay_rate (section 7.2).
      clip_update: largest root mean square of a tensor's update before the learning rate
        (section 6); None leaves it.
      momentum: decay of the first moment; None keeps none.
      weight_decay: share of a parameter that is taken off at a step, times the learning
        rate to the power `weight_decay_lr_exponent`.
    """

    learning_rate: Callable[[Any], Any]
    factored: bool = True
    min_size_to_factor: int = 128
    scale_by_parameters: bool = False
    decay_rate: float = 0.8
    clip_update: float | None = 1.0
    momentum: float | None = None
    weight_decay: float = 0.0
    weight_decay_lr_exponent: float = 1.0

    def transformation(self) -> optax.GradientTransformation:
        """Optax's form: `update` wants the parameters, and gives float32 updates."""

        def update(grads: Any, state: AdafactorState, params: Any = None) -> Any:
            paths, tree = _flatten(params)
            columns = zip(*(tree.flatten_up_to(t) for t in (grads, *state[1:])), strict=True)
            new = [
                self._update(is_stacked(path), param, state.step, *column)
                for (path, param), column in zip(paths, columns, strict=True)
            ]
            updates, *moments = (tree.unflatten(column) for column in zip(*new, strict=True))
            return updates, AdafactorState(state.step + 1, *moments)

        return optax.GradientTransformation(self._init, update)

    def _init(self, params: Any) -> AdafactorState:
        paths, tree = _flatten(params)
        new = []
        for path, param in paths:
            shape, factored = param.shape, self._is_factored(is_stacked(path), param.shape)
            new.append(
                (
                    jnp.zeros(shape[:-1] if factored else (1,)),
                    jnp.zeros((*shape[:-2], shape[-1]) if factored else (1,)),
                    jnp.zeros((1,) if factored else shape),
                    jnp.zeros((1,) if self.momentum is None else shape),
                )
            )
        moments = (tree.unflatten(column) for column in zip(*new, strict=True))
        return AdafactorState(jnp.zeros((), jnp.int32), *moments)

    def _is_factored(self, stacked: bool, shape: tuple[int, ...]) -> bool:
        if not self.factored or len(shape) != 2 + stacked:
            return False
        return stacked or min(shape) >= self.min_size_to_factor

    def _update(
        self,
        stacked: bool,
        param: jax.Array,
        step: jax.Array,
        grad: jax.Array,
        v_row: jax.Array,
        v_col: jax.Array,
        v: jax.Array,
        m: jax.Array,
    ) -> tuple[jax.Array, ...]:
        """One parameter's update and new moments."""
        param, grad = param.astype(jnp.float32), grad.astype(jnp.float32)
        within = tuple(range(int(stacked), param.ndim))  # the axes of one tensor

        decay = 1.0 - (step.astype(jnp.float32) + 1.0) ** -self.decay_rate
        square = jnp.square(grad) + _SQUARE_EPSILON
        if self._is_factored(stacked, param.shape):
            v_row = decay * v_row + (1.0 - decay) * jnp.mean(square, axis=-1)
            v_col = decay * v_col + (1.0 - decay) * jnp.mean(square, axis=-2)
            row = jax.lax.rsqrt(v_row / jnp.mean(v_row, axis=-1, keepdims=True))
            update = grad * row[..., None] * jax.lax.rsqrt(v_col)[..., None, :]
        else:
            v = decay * v + (1.0 - decay) * square
            update = grad * jax.lax.rsqrt(v)
        if self.clip_update is not None:
            update = update / jnp.maximum(1.0, _rms(update, within) / self.clip_update)

        rate = self.learning_rate(step)
        scale = (
            jnp.maximum(_rms(param, within), _SCALE_EPSILON) if self.scale_by_parameters else 1.0
        )
        update = -rate * scale * update
        if self.momentum is not None:
            update = m = self.momentum * m + (1.0 - self.momentum) * update
        if self.weight_decay:
            update = update - self.weight_decay * rate**self.weight_decay_lr_exponent * param
        return update, v_row, v_col, v, m


def _flatten(tree: Any) -> tuple[list[tuple[Any, Any]], Any]:
    return jax.tree_util.tree_flatten_with_path(tree)


def is_stacked(path: Any) -> bool:
    """Whether axis 0 of the parameter at a tree path counts layers."""
    return any(getattr(entry, "key", None) == "layers" for entry in path)


def _rms(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x), axis=axes, keepdims=True))
