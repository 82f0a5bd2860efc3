"""The one contract between data and model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Packed examples, each array `[batch, length]`.

    An example of inputs x and targets y is the sequence s = x + EOS + y + EOS. Several
    examples share a row; position p of an example holds `targets[p] = s[p]` and
    `tokens[p] = s[p - 1]`, with the start token (`bos_id`, 0 by default) at p = 0, as
    in T5X's decoder-only models.

    Attributes:
      tokens: int32, what the model reads.
      targets: int32, what it has to predict at the same place; 0 is padding.
      positions: int32, place within the example, from 0.
      segment_ids: int32, 1, 2, ... for the examples of a row; 0 is padding. Attention
        never crosses from one to another.
      loss_weights: float32, 1 where the target counts (the example's y and its EOS),
        0 elsewhere.
    """

    tokens: np.ndarray
    targets: np.ndarray
    positions: np.ndarray
    segment_ids: np.ndarray
    loss_weights: np.ndarray


def row_length(length: int, prefix: int) -> int:
    """Tokens of a row that has room for examples of `length` after `prefix` tokens.

    Where `length` is a multiple of 128, as attention kernels like it, so is the row's.
    """
    whole = length + prefix
    return whole if length % 128 else -(-whole // 128) * 128


def check_tokens(batch: Batch, vocab_size: int | None, step: int) -> Batch:
    """The batch, if a model with so many tokens (None: of whatever number) can read it.

    Raises ValueError: beyond its embedding a model would read anything, silently.
    """
    low, high = int(batch.targets.min()), int(batch.targets.max())
    if low < 0 or (vocab_size is not None and high >= vocab_size):
        raise ValueError(
            f"the batch of step {step} has token {low if low < 0 else high}, and the vocabulary has "
            f"the tokens 0 to {'...' if vocab_size is None else vocab_size - 1}: a token cache is "
            "damaged, or of another vocabulary; delete the folder `tokens` of the cache folder, and "
            "`flan prepare` makes it again"
        )
    return batch
