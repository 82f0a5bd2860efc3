"""Masked multi-head attention, for training and against a key/value cache.

Shapes: B batch, L query length, S key length, H heads, K key/value heads, d head size.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan.models.attention_kernels import PLAIN, Kernel, attend_with
from flan.models.blocked_attention import MASKED
from flan.models.config import ModelConfig
from flan.models.layers import Dense, RMSNorm, constrain
from flan.models.positions import rotary


def attention_mask(
    length: int,
    segment_ids: jax.Array | None,
    bidirectional: jax.Array | None,
    option_ids: jax.Array | None = None,
) -> jax.Array:
    """Who may look at whom.

    Args:
      length: L.
      segment_ids: int32 `[B, L]`; a token sees only its own segment.
      bidirectional: int32 or bool `[B, L]`; tokens marked 1 see one another in both
        directions (prefix-LM), the rest looks back only.
      option_ids: int32 `[B, L]`; a token sees its own option, and option 0, which is what
        the options of a segment share.

    Returns:
      bool `[B or 1, 1, L, L]`, queries before keys.
    """
    places = jnp.arange(length)
    mask = (places[:, None] >= places[None, :])[None]
    if bidirectional is not None:
        both = bidirectional.astype(bool)
        mask = mask | (both[:, :, None] & both[:, None, :])
    if segment_ids is not None:
        mask = mask & (segment_ids[:, :, None] == segment_ids[:, None, :])
    if option_ids is not None:
        keys = option_ids[:, None, :]
        mask = mask & ((keys == 0) | (keys == option_ids[:, :, None]))
    return mask[:, None]


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array,
    scale: float,
    steady: bool = False,
) -> jax.Array:
    """Softmax attention with the softmax in float32.

    Args:
      query: `[B, L, H, d]`.
      key, value: `[B, S, K, d]`, each serving H / K query heads.
      bias: float32, broadcastable to `[B, H, L, S]`, or None.
      mask: bool, broadcastable to `[B, 1, L, S]`.
      scale: factor on the logits before the bias.
      steady: normalize after the product with the values, by a sum that is one more of its
        columns. A product adds keys one by one, so that masked ones change no bit of it,
        while a reduction's order follows the row's length and the place in it.

    Returns:
      `[B, L, H, d]` in the dtype of `value`.
    """
    batch, length, heads, size = query.shape
    kv_heads = key.shape[2]
    grouped = query.reshape(batch, length, kv_heads, heads // kv_heads, size)
    logits = jnp.einsum("blkgd,bskd->bkgls", grouped, key, preferred_element_type=jnp.float32)
    logits = logits.reshape(batch, heads, length, -1)
    if scale != 1.0:
        logits = logits * scale
    if bias is not None:
        logits = logits + bias
    logits = jnp.where(mask, logits, MASKED)
    dtype = value.dtype
    if steady:
        weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
        value = jnp.pad(value, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1)
    else:
        weights = jax.nn.softmax(logits, axis=-1)
    weights = weights.astype(dtype).reshape(batch, kv_heads, heads // kv_heads, length, -1)
    mixed = jnp.einsum("bkgls,bskd->blkgd", weights, value, preferred_element_type=jnp.float32)
    if steady:
        mixed = mixed[..., :-1] / mixed[..., -1:]
    return mixed.reshape(batch, length, heads, size).astype(dtype)


def attend_cached(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array,
    scale: float,
) -> jax.Array:
    """`attend` for one query a row and a cache, whose layout needs no transposition.

    Args:
      query: `[B, 1, H, d]`.
      key, value: `[B, K, S, d]`.
      bias, mask, scale: as in `attend`.

    Returns:
      `[B, 1, H, d]` in the dtype of `value`.
    """
    batch, _, heads, size = query.shape
    kv_heads = key.shape[1]
    grouped = query.reshape(batch, kv_heads, heads // kv_heads, size)
    # Keys first: with the few queries first, the product is up to three times slower on CPUs.
    # The barrier keeps XLA from turning it round again.
    logits = jnp.einsum("bksd,bkgd->bksg", key, grouped, preferred_element_type=jnp.float32)
    logits = jax.lax.optimization_barrier(logits)
    logits = logits.swapaxes(2, 3).reshape(batch, heads, 1, -1) * scale
    if bias is not None:
        logits = logits + bias
    weights = jax.nn.softmax(jnp.where(mask, logits, MASKED), axis=-1).astype(value.dtype)
    weights = weights.reshape(batch, kv_heads, heads // kv_heads, -1)
    mixed = jnp.einsum("bkgs,bksd->bkgd", weights, value, preferred_element_type=jnp.float32)
    return mixed.reshape(batch, 1, heads, size).astype(value.dtype)


class SelfAttention(nn.Module):
    """Projections, rotary embedding where asked, cache, attention."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        bias: jax.Array | None,
        mask: jax.Array,
        positions: jax.Array,
        *,
        decode: bool = False,
        prefill: bool = False,
        kernel: Kernel = PLAIN,
    ) -> jax.Array:
        """One layer's attention.

        Args:
          x: `[B, L, D]`.
          bias, mask: as `attend` wants them; for a decoding step over the whole cache.
          kernel: what attends, but in a decoding step over a cache.
          positions: int32 `[B, L]`: rotary positions, and the cache slot of a decoding step.
          decode: with no cache yet, make an empty one of L slots; with one, L is 1: store
            this token's key and value and attend to the cache.
          prefill: store L keys and values in the cache's first slots, attend within x.

        Returns:
          `[B, L, D]`.
        """
        config = self.config

        def project(name: str, heads: int, scale: float = 1.0) -> jax.Array:
            flat = Dense(
                heads * config.d_head,
                ("embed", "joined_kv"),
                config.compute_dtype,
                jnp.dtype(config.param_dtype),
                scale,
                use_bias=config.qkv_bias,
                lora=config.lora(name),
                name=name,
            )(x)
            split = flat.reshape(*x.shape[:2], heads, config.d_head)
            return constrain(split, "batch", "length", "heads", "kv")

        root = config.d_head**-0.5
        query = project("query", config.num_heads, 1.0 if config.scale_attention else root)
        key = project("key", config.kv_heads)
        value = project("value", config.kv_heads)
        if config.qk_norm:
            norm = functools.partial(
                RMSNorm,
                config.norm_epsilon,
                config.compute_dtype,
                jnp.dtype(config.param_dtype),
                axis="kv",
                steady=kernel.steady,
            )
            query, key = norm(name="query_norm")(query), norm(name="key_norm")(key)
        if config.positions == "rope":
            query = rotary(query, positions, config.rope_theta, config.rope_scaling)
            key = rotary(key, positions, config.rope_theta, config.rope_scaling)

        scale = root if config.scale_attention else 1.0
        if decode or prefill:
            ready = self.has_variable("cache", "cached_key")
            # [B, K, S, d]: heads before slots, as products with a cache want them.
            keys = constrain(key.swapaxes(1, 2), "batch", None, None, None)
            values = constrain(value.swapaxes(1, 2), "batch", None, None, None)
            cached_key = self.variable("cache", "cached_key", jnp.zeros_like, keys)
            cached_value = self.variable("cache", "cached_value", jnp.zeros_like, values)
        if decode and ready:
            rows, slot = jnp.arange(x.shape[0]), positions[:, 0]
            cached_key.value = cached_key.value.at[rows, :, slot].set(key[:, 0])
            cached_value.value = cached_value.value.at[rows, :, slot].set(value[:, 0])
            mixed = attend_cached(query, cached_key.value, cached_value.value, bias, mask, scale)
        else:
            if prefill:
                start = (0, 0, 0, 0)
                cached_key.value = jax.lax.dynamic_update_slice(cached_key.value, keys, start)
                cached_value.value = jax.lax.dynamic_update_slice(cached_value.value, values, start)
            if kernel.name == "plain":
                mixed = attend(query, key, value, bias, mask, scale, kernel.steady)
            else:
                mixed = attend_with(kernel, query, key, value, bias, mask, scale)
        return Dense(
            x.shape[-1],
            ("joined_kv", "embed"),
            config.compute_dtype,
            jnp.dtype(config.param_dtype),
            lora=config.lora("out"),
            name="out",
        )(mixed.reshape(*x.shape[:2], -1))
