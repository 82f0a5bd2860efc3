"""Made-up tokenized examples in memory, in the place of a token cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan.data.permutation import seed_key

EOS_ID = 1


@dataclasses.dataclass(frozen=True)
class ArrayShard:
    """Arrays as in a cache's shard: int32 tokens, int64 offsets, int32 input lengths."""

    tokens: np.ndarray
    offsets: np.ndarray
    input_lengths: np.ndarray


@dataclasses.dataclass(frozen=True)
class ArrayExamples:
    """Examples in memory that satisfy `flan.data.pool.Examples`."""

    fingerprint: str
    num_rows: int
    shards: Sequence[ArrayShard]
    rows_found: int = 0
    renderings: int = 1
    num_cut: int = 0


def array_examples(
    name: str,
    lengths: np.ndarray,
    target_lengths: np.ndarray,
    renderings: int = 1,
    shard_size: int = 1000,
) -> ArrayExamples:
    """Examples of given lengths, EOS tokens included, with random ids from 2 up.

    Args:
      name: seeds the ids and is the fingerprint.
      lengths: int `[rows * renderings]`, tokens of each example, 2 or more.
      target_lengths: int, the same shape: those of its targets, below `lengths`.
      renderings: renderings of each row.
      shard_size: examples of a shard.
    """
    assert len(lengths) % renderings == 0
    rng = np.random.default_rng(seed_key(name))
    shards = []
    for start in range(0, len(lengths), shard_size):
        length = np.asarray(lengths[start : start + shard_size], np.int64)
        inputs = (length - target_lengths[start : start + shard_size]).astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(length)])
        tokens = rng.integers(2, 1000, offsets[-1], dtype=np.int32)
        tokens[offsets[1:] - 1] = EOS_ID
        tokens[offsets[:-1] + np.maximum(inputs, 1) - 1] = EOS_ID
        shards.append(ArrayShard(tokens, offsets, inputs))
    rows = len(lengths) // renderings
    return ArrayExamples(name, rows, shards, rows, renderings)
