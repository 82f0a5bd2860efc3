"""Checksums that travel with a checkpoint, so that what is restored is what was saved.

Orbax's files carry no checksum of the arrays: a flipped byte may come back as another
number, a lost chunk as zeros. Each array is therefore summed up where it lies, when it is
saved and again when it is restored: the same sums on any mesh, nothing gathered, no file
read twice. They guard against accidents, not against forgery.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}
# Constants of the two sums.
_SALTS = (0x9E3779B9, 0x85EBCA6B)
_TWIST, _STIR = 0x5BD1E995, 0x2C1B3C6D
# Elements that a host sums up at a time.
_BLOCK = 1 << 20
# The entry of a checkpoint's metadata that holds what this module writes.
ENTRY = "integrity"
# Of how the sums are taken. The first ones missed a float32's sign, and are not compared;
# the second ones are these, but their version is not in the metadata's own checksum.
_VERSION, _UNHASHED = 3, (None, 2)

# What is known of an array: its shape, its dtype's name, two uint32 sums.
Described = dict[str, tuple[list[int], str, list[int]]]


def describe(tree: Any) -> Described:
    """Shape, dtype and checksum of each array, by its path; ValueError for 64-bit numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = [leaf for _, leaf in leaves]
    sums = jax.device_get(_summed(_replicated(arrays))(arrays))
    return {
        path_name(path): (list(leaf.shape), str(leaf.dtype), [int(part) for part in pair])
        for (path, leaf), pair in zip(leaves, sums, strict=True)
    }


def same_shapes(tree: Any, described: Described) -> bool:
    """Whether a tree (of arrays or their abstract forms) has the described paths and shapes."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_name(path): list(leaf.shape) for path, leaf in leaves} == {
        name: shape for name, (shape, _, _) in described.items()
    }


def path_name(path: Any) -> str:
    """A tree path as text: `params/layers/mlp/wi_0/kernel`."""
    return "/".join(
        str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry))))
        for entry in path
    )


def sealed(metadata: dict[str, Any], arrays: Described) -> dict[str, Any]:
    """Metadata with the arrays' checksums and one of its own."""
    seal = {"version": _VERSION, "arrays": arrays, "sha256": _hash(metadata, arrays, _VERSION)}
    return {**metadata, ENTRY: seal}


def opened(stored: dict[str, Any]) -> tuple[dict[str, Any], Described | None]:
    """Metadata as it was given to `sealed`, and the arrays; None for one without checksums.

    None also for checksums of another version. Raises ValueError where it was changed since.
    """
    metadata = {key: value for key, value in stored.items() if key != ENTRY}
    seal = stored.get(ENTRY)
    if seal is None:
        return metadata, None
    if not isinstance(seal, dict) or not isinstance(seal.get("arrays"), dict):
        raise ValueError("its metadata is damaged")
    version = seal.get("version")
    if seal.get("sha256") != _hash(metadata, seal["arrays"], version):
        raise ValueError("its metadata is not what was saved: the checksum differs")
    if version not in (2, _VERSION):
        return metadata, None
    return metadata, {
        name: (list(shape), dtype, list(sums))
        for name, (shape, dtype, sums) in seal["arrays"].items()
    }


def verify(tree: Any, saved: Described) -> None:
    """ValueError naming the first array that is not what was saved.

    An array that is read in another dtype than it was saved in cannot be compared.
    """
    for name, (shape, dtype, sums) in describe(tree).items():
        expected = saved.get(name)
        if expected is None or expected[1] != dtype:
            continue
        if (shape, sums) != (expected[0], expected[2]):
            raise ValueError(f"{name} is not what was saved: its checksum differs")


def checksum(x: jax.Array) -> jax.Array:
    """uint32 `[2]`: sums, modulo 2^32, of each element's bits mixed with its place."""
    bits = jax.lax.bitcast_convert_type(x, _unsigned(x.dtype)).astype(jnp.uint32)
    # Places count modulo 2^32 in each axis, so that no array is too large.
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis, size in enumerate(x.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    sums = []
    for salt in _SALTS:
        sums.append(jnp.sum(_mixed(bits, place, salt, jnp.uint32), dtype=jnp.uint32))
    return jnp.stack(sums)


def host_checksum(x: np.ndarray) -> list[int]:
    """`checksum` of an array in the host's memory or in a mapped file, a piece at a time."""
    flat = x.reshape(-1).view(_unsigned(x.dtype))
    sums = [0, 0]
    for start in range(0, flat.size, _BLOCK):
        bits = flat[start : start + _BLOCK].astype(np.uint32)
        place = np.arange(start, start + bits.size, dtype=np.uint64).astype(np.uint32)
        for which, salt in enumerate(_SALTS):
            sums[which] += int(_mixed(bits, place, salt, np.uint32).sum(dtype=np.uint64))
    return [total % 2**32 for total in sums]


def _unsigned(dtype: Any) -> Any:
    unsigned = _UNSIGNED.get(dtype.itemsize)
    if unsigned is None:
        raise ValueError(f"cannot sum up an array of {dtype}")
    return unsigned


def _mixed(bits: Any, place: Any, salt: int, uint32: Any) -> Any:
    """uint32, as `bits` and `place` of elements: a hash of both."""
    # An even factor would lose the highest bit, which is a float's sign.
    mixed = (bits ^ (place * uint32(salt))) * uint32((salt ^ _TWIST) | 1)
    mixed = (mixed ^ (mixed >> 15)) * uint32(_STIR)
    return mixed ^ (mixed >> 13)


@functools.cache
def _summed(sharding: NamedSharding | None) -> Any:
    return jax.jit(_checksums, out_shardings=sharding)


def _checksums(leaves: list[jax.Array]) -> jax.Array:
    """uint32 `[arrays, 2]`."""
    return jnp.stack([checksum(leaf) for leaf in leaves])


def _replicated(leaves: list[jax.Array]) -> NamedSharding | None:
    """Where each process can read the sums of arrays that lie on a mesh."""
    for leaf in leaves:
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding):
            return NamedSharding(sharding.mesh, PartitionSpec())
    return None


def _hash(metadata: dict[str, Any], arrays: Any, version: Any) -> str:
    hashed = [metadata, arrays] if version in _UNHASHED else [metadata, arrays, version]
    # As a reader finds it: numbers as keys have become texts, and are sorted as these.
    content = json.dumps(json.loads(json.dumps(hashed)), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
