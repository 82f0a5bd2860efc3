"""Tells parameters apart by their bits, so that stored results belong to one set of weights."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def params_fingerprint(params: Any) -> str:
    """SHA-256 in hex over names, shapes, dtypes and a checksum of each array's bits.

    The checksums are integer sums, computed where the arrays lie: the same on any mesh,
    and nothing is gathered. They guard against mistakes, not against forgery. Raises
    ValueError for an array of 64-bit numbers.
    """
    rows = [
        (
            "/".join(str(getattr(entry, "key", entry)) for entry in path),
            list(leaf.shape),
            str(leaf.dtype),
            [int(part) for part in _checksum(leaf)],
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


@jax.jit
def _checksum(x: jax.Array) -> jax.Array:
    """uint32 `[2]`: sums, modulo 2^32, of each element's bits mixed with its place."""
    unsigned = _UNSIGNED.get(x.dtype.itemsize)
    if unsigned is None:
        raise ValueError(f"cannot fingerprint an array of {x.dtype}")
    bits = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
    # Places count modulo 2^32 in each axis, so that no array is too large.
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis, size in enumerate(x.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    sums = []
    for salt in (0x9E3779B9, 0x85EBCA6B):
        mixed = (bits ^ (place * jnp.uint32(salt))) * jnp.uint32(salt ^ 0x5BD1E995)
        mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x2C1B3C6D)
        sums.append(jnp.sum(mixed ^ (mixed >> 13), dtype=jnp.uint32))
    return jnp.stack(sums)
