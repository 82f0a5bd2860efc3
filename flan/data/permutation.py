"""Random orders that can be read at any place without being stored.

A resumed run has to find its place after any number of examples, for datasets of any
size, and to the same bits whatever NumPy is installed (NumPy changes the streams of its
generators between versions). So the orders here are arithmetic on 64-bit integers.
"""

from __future__ import annotations

import hashlib

import numpy as np

_ROUNDS = 6


def seed_key(*parts: object) -> int:
    """A 64-bit key for a sequence of names and numbers; distinct sequences get unrelated keys."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(x: np.ndarray) -> np.ndarray:
    """Scrambles uint64 values of any shape, one to one (the finalizer of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def permuted(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Values of pseudo-random permutations at given places, in constant memory.

    A Feistel network permutes the smallest power of two that holds `size`; values that
    fall outside are sent through it again until they are inside, which keeps it one to one.

    Args:
      index: int64 `[n]`, place `0 <= index < size`.
      size: int64 `[n]`, how many things are permuted, each at its place.
      key: uint64 `[n]`, which permutation.

    Returns:
      int64 `[n]`: for fixed size and key, a permutation of `range(size)`.
    """
    assert np.all((index >= 0) & (index < size))
    # bits.bit_length of (size - 1), at least 2 so that both halves have a bit
    bits = np.maximum(2, np.frexp((size - 1).astype(np.float64))[1]).astype(np.uint64)
    values = index.astype(np.uint64)
    limit = size.astype(np.uint64)
    todo = np.arange(len(values))
    while len(todo):
        values[todo] = _feistel(values[todo], bits[todo], key[todo])
        todo = todo[values[todo] >= limit[todo]]
    return values.astype(np.int64)


def shuffled(count: int, key: int) -> np.ndarray:
    """int64 `[count]`: a pseudo-random order of `range(count)`."""
    places = np.arange(count, dtype=np.uint64)
    return np.argsort(mix(mix(places + np.uint64(1)) ^ np.uint64(key)), kind="stable")


def _feistel(values: np.ndarray, bits: np.ndarray, key: np.ndarray) -> np.ndarray:
    """One pass: halves of `bits // 2` and the rest; each round scrambles one half by the other."""
    low_bits = bits >> np.uint64(1)
    high_bits = bits - low_bits
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << high_bits) - np.uint64(1)
    low, high = values & low_mask, values >> low_bits
    for number in range(_ROUNDS):
        round_key = key + np.uint64((number + 1) * 0x9E3779B97F4A7C15 % 2**64)
        if number % 2:
            high = high ^ (mix(low + round_key) & high_mask)
        else:
            low = low ^ (mix(high + round_key) & low_mask)
    return (high << low_bits) | low
