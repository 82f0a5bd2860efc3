"""Where a token stands: T5's relative attention bias and rotary embeddings."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.partitioning import param_with_axes

from flan.models.rope_scaling import RopeScaling


def relative_buckets(distance: np.ndarray, num_buckets: int, max_distance: int) -> np.ndarray:
    """T5's buckets of causal distances (arXiv 1910.10683, section 2.1).

    Args:
      distance: how far back a key lies, any integer shape; negative counts as 0.
      num_buckets: half of them hold one distance each, half grow logarithmically.
      max_distance: all farther ones share the last bucket.

    Returns:
      int32 of the same shape, in [0, num_buckets).
    """
    distance = np.maximum(distance, 0)
    exact = num_buckets // 2
    # float32 throughout, as T5 computes it: float64 would move a few borders.
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / np.log(
        np.float32(max_distance) / exact
    )
    far = exact + (ratio * (num_buckets - exact)).astype(np.int32)
    return np.where(distance < exact, distance, np.minimum(far, num_buckets - 1)).astype(np.int32)


class RelativeBias(nn.Module):
    """T5's bias on attention logits, one table of `[heads, buckets]` for all layers."""

    num_heads: int
    num_buckets: int = 32
    max_distance: int = 128
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        query_length: int,
        key_length: int,
        query_positions: jax.Array | None = None,
        key_positions: jax.Array | None = None,
    ) -> jax.Array:
        """Bias of each query on each key.

        Args:
          query_length: number of queries, the last of which sees all keys; without
            `query_positions` it must equal `key_length`.
          key_length: number of keys, at positions 0, 1, ...
          query_positions: int32 `[B, query_length]`, for queries that do not stand where
            their place in the row says. A gather, which costs what the plain case does not.
          key_positions: int32 `[B, key_length]`, all below `key_length`; with
            `query_positions` only.

        Returns:
          float32 `[1, heads, query_length, key_length]`, or `[B, heads, query_length,
          key_length]` with `query_positions`.
        """
        table = param_with_axes(
            "rel_embedding",
            nn.initializers.variance_scaling(1.0, "fan_avg", "uniform"),
            (self.num_heads, self.num_buckets),
            self.param_dtype,
            axes=("heads", "relpos_buckets"),
        ).astype(jnp.float32)
        # Bias by distance, [heads, key_length]: a matrix product, since the gradient of a
        # gather would be a slow scatter on TPUs.
        buckets = relative_buckets(np.arange(key_length), self.num_buckets, self.max_distance)
        one_hot = np.eye(self.num_buckets, dtype=np.float32)[buckets]
        by_distance = jnp.matmul(table, one_hot.T, precision=jax.lax.Precision.HIGHEST)
        if query_positions is not None:
            keys = jnp.arange(key_length)[None] if key_positions is None else key_positions
            distance = query_positions[:, :, None] - keys[:, None, :]  # [B, queries, keys]
            return by_distance[:, jnp.clip(distance, 0)].swapaxes(0, 1)
        assert query_length == key_length, (query_length, key_length)
        return toeplitz(by_distance)[None]


def toeplitz(by_distance: jax.Array) -> jax.Array:
    """`[H, L] -> [H, L, L]` with entry (i, j) = `by_distance[max(i - j, 0)]`.

    Repeating a row of 2L and reading it back in rows of 2L - 1 shifts it by one a row: no
    gather forward, a plain sum backward.
    """
    heads, length = by_distance.shape
    future = jnp.broadcast_to(by_distance[:, :1], (heads, length + 1))
    row = jnp.concatenate([future, by_distance[:, :0:-1]], axis=1)  # [H, 2L]
    repeated = jnp.broadcast_to(row[:, None, :], (heads, length, 2 * length))
    flat = repeated.reshape(heads, -1)[:, : length * (2 * length - 1)]
    return flat.reshape(heads, length, 2 * length - 1)[:, :, :length]


def rotary(
    x: jax.Array, positions: jax.Array, theta: float, scaling: RopeScaling | None = None
) -> jax.Array:
    """Rotary position embedding (arXiv 2104.09864), halves split as in Llama.

    Args:
      x: `[B, L, H, d]`, any float dtype.
      positions: int32 `[B, L]`.
      theta: base of the frequencies.
      scaling: by what they are divided.

    Returns:
      Same shape and dtype; angles are computed in float32.
    """
    half = x.shape[-1] // 2
    frequency = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    if scaling is not None:
        frequency = frequency / scaling.divisors(2 * half, theta)
    angle = positions[..., None, None].astype(jnp.float32) * frequency  # [B, L, 1, half]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)
