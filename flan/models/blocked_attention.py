"""Attention by blocks of queries, with a backward pass that keeps no weights.

Plain attention writes the L x L weights of each head to memory, keeps them for the backward
pass, and computes the half of them that a causal mask throws away. Here a block of queries
meets only the keys up to its own end, and the backward pass computes the weights again from
the logarithm of their sum (FlashAttention, arXiv 2205.14135, section 3, without its tiling of
keys: a block's weights are small enough for a CPU's cache). Any bias and any mask.

Shapes: B batch, L length, H heads, K key/value heads, d head size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Queries of a block; long rows have at most `_MOST_BLOCKS`, since each is compiled by itself.
BLOCK = 256
_MOST_BLOCKS = 8
# What a masked logit becomes: far below any real one, and finite, so that a row with
# nothing to attend to gives an average instead of NaN.
MASKED = -1e10

Pytree = Any


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7))
def blocked_attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array,
    scale: float,
    causal: bool,
    in_turn: bool,
) -> jax.Array:
    """`flan.models.attention.attend` of a row to itself.

    Args:
      query: `[B, L, H, d]`.
      key, value: `[B, L, K, d]`, each serving H / K query heads.
      bias: float32 `[B or 1, H, L, L]`, or None.
      mask: bool `[B or 1, 1, L, L]`; every query must see a key.
      scale: factor on the logits before the bias.
      causal: the mask hides all later keys, so that they need not be looked at.
      in_turn: heads one after the other, which is what CPUs want, or all at once.

    Returns:
      `[B, L, H, d]` in the dtype of `value`.
    """
    return _forward(query, key, value, bias, mask, scale, causal, in_turn)[0]


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array,
    scale: float,
    causal: bool,
    in_turn: bool,
) -> tuple[jax.Array, Pytree]:
    query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
    blocks = _blocks(query.shape[2], causal)

    def head(q: jax.Array, k: jax.Array, v: jax.Array, b: jax.Array | None, m: jax.Array) -> Any:
        mixed, norms, dtype = [], [], v.dtype
        q, k, v = _computable(in_turn, q, k, v)
        for at, keys in blocks:
            logits = jnp.where(m[at, keys], _logits(q, k, b, scale, at, keys), MASKED)
            top = jnp.max(logits, axis=-1, keepdims=True)
            weights = jnp.exp(logits - top)
            if in_turn:
                # See `attend`, `steady`; and one pass over the weights less.
                product = _matmul(weights, jnp.pad(v[keys], ((0, 0), (0, 1)), constant_values=1))
                product, total = product[:, :-1], product[:, -1:]
            else:
                total = jnp.sum(weights, axis=-1, keepdims=True)
                product = _matmul(weights.astype(v.dtype), v[keys])
            mixed.append(product / total)
            norms.append(top + jnp.log(total))
        return jnp.concatenate(mixed).astype(dtype), jnp.concatenate(norms)

    def row(q: jax.Array, k: jax.Array, v: jax.Array, b: jax.Array | None, m: jax.Array) -> Any:
        k, v = _for_each_query_head(k, q.shape[0]), _for_each_query_head(v, q.shape[0])
        return _over(lambda q, k, v, b: head(q, k, v, b, m[0]), in_turn)(q, k, v, b)

    b, shared_bias = _of_rows(bias)
    m, shared_mask = _of_rows(mask)
    mixed, norms = _over(
        lambda q, k, v, b, m: row(q, k, v, shared_bias(b), shared_mask(m)), in_turn
    )(query, key, value, b, m)
    return mixed.swapaxes(1, 2), (query, key, value, bias, mask, mixed, norms)


def _backward(
    scale: float, causal: bool, in_turn: bool, kept: Pytree, gradient: jax.Array
) -> tuple[jax.Array | None, ...]:
    query, key, value, bias, mask, mixed, norms = kept
    gradient = gradient.swapaxes(1, 2)
    length, heads = query.shape[2], query.shape[1]
    blocks = _blocks(length, causal)

    def head(
        q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        b: jax.Array | None,
        out: jax.Array,
        norm: jax.Array,
        dout: jax.Array,
        m: jax.Array,
    ) -> Any:
        q, k, v, dout = _computable(in_turn, q, k, v, dout)
        # d logits = weights * (d weights - sum of weights * d weights), and that sum is
        # out . d out.
        inner = jnp.sum(dout.astype(jnp.float32) * out.astype(jnp.float32), -1, keepdims=True)
        dq, db = [], []
        dk, dv = jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32)
        for at, keys in blocks:
            weights = jnp.exp(_logits(q, k, b, scale, at, keys) - norm[at])
            weights = jnp.where(m[at, keys], weights, 0.0)
            dlogits = weights * (_matmul(dout[at], v[keys].T) - inner[at])
            if b is not None:
                db.append(jnp.pad(dlogits, ((0, 0), (0, length - dlogits.shape[1]))))
            dlogits = (dlogits * scale).astype(q.dtype)
            dq.append(_matmul(dlogits, k[keys]))
            dk = dk.at[keys].add(_matmul(dlogits.T, q[at]))
            dv = dv.at[keys].add(_matmul(weights.astype(dout.dtype).T, dout[at]))
        return jnp.concatenate(dq), dk, dv, jnp.concatenate(db) if db else None

    def row(q: Any, k: Any, v: Any, b: Any, out: Any, norm: Any, dout: Any, m: Any) -> Any:
        wide_k, wide_v = _for_each_query_head(k, heads), _for_each_query_head(v, heads)
        dq, dk, dv, db = _over(
            lambda q, k, v, b, o, n, do: head(q, k, v, b, o, n, do, m[0]), in_turn
        )(q, wide_k, wide_v, b, out, norm, dout)
        dk, dv = (jnp.sum(x.reshape(k.shape[0], -1, *k.shape[1:]), 1) for x in (dk, dv))
        return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), db

    m, shared_mask = _of_rows(mask)
    b, shared_bias = _of_rows(bias)
    arrays = (query, key, value, b, mixed, norms, gradient, m)

    def whole_row(q: Any, k: Any, v: Any, b: Any, out: Any, norm: Any, dout: Any, m: Any) -> Any:
        return row(q, k, v, shared_bias(b), out, norm, dout, shared_mask(m))

    if bias is None or bias.shape[0] > 1:
        dq, dk, dv, db = _over(whole_row, in_turn)(*arrays)
    elif in_turn:
        # A bias that rows share: summed as they come, not kept for each row.
        def add(total: jax.Array, x: Any) -> tuple[jax.Array, Any]:
            dq, dk, dv, db = whole_row(*x)
            return total + db, (dq, dk, dv)

        db, (dq, dk, dv) = jax.lax.scan(add, jnp.zeros(bias.shape[1:], jnp.float32), arrays)
        db = db[None]
    else:
        dq, dk, dv, db = _over(whole_row, in_turn)(*arrays)
        db = jnp.sum(db, axis=0, keepdims=True)
    dbias = None if bias is None else db.astype(bias.dtype)
    return dq.swapaxes(1, 2), dk.swapaxes(1, 2), dv.swapaxes(1, 2), dbias, None


blocked_attend.defvjp(_forward, _backward)


def _blocks(length: int, causal: bool) -> list[tuple[slice, slice]]:
    """Queries of each block and the keys that they may see."""
    size = max(BLOCK, -(-length // (_MOST_BLOCKS * 128)) * 128)
    ends = [(start, min(start + size, length)) for start in range(0, length, size)]
    return [(slice(a, b), slice(0, b if causal else length)) for a, b in ends]


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    # A batch of one costs nothing, and tells the remat policy `dots` (products without a batch
    # are kept) that this is no projection: it would keep every head's logits.
    axes = (((2,), (1,)), ((0,), (0,)))
    return jax.lax.dot_general(a[None], b[None], axes, preferred_element_type=jnp.float32)[0]


def _computable(in_turn: bool, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """On CPUs float32: as fast, and XLA lacks bfloat16 products of some of these layouts there."""
    return tuple(x.astype(jnp.float32) for x in arrays) if in_turn else arrays


def _logits(
    q: jax.Array, k: jax.Array, b: jax.Array | None, scale: float, at: slice, keys: slice
) -> jax.Array:
    logits = _matmul(q[at], k[keys].T)
    if scale != 1.0:
        logits = logits * scale
    return logits if b is None else logits + b[at, keys]


def _over(function: Callable[..., Any], in_turn: bool) -> Callable[..., Any]:
    """`function` of one item -> the same for arrays of items along the first axis."""
    if in_turn:
        return lambda *arrays: jax.lax.map(lambda item: function(*item), arrays)
    return jax.vmap(function)


def _of_rows(array: jax.Array | None) -> tuple[jax.Array | None, Callable[[Any], Any]]:
    """What to map over rows, and how a row gets its own from that: one array may serve all."""
    if array is None or array.shape[0] > 1:
        return array, lambda own: own
    return None, lambda _: array[0]


def _for_each_query_head(x: jax.Array, heads: int) -> jax.Array:
    """`[K, L, d] -> [H, L, d]`: head h reads key/value head h // (H / K)."""
    return x if x.shape[0] == heads else jnp.repeat(x, heads // x.shape[0], axis=0)
