"""From text to the token ids of examples: x + EOS + y + EOS, cut to length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flan.data.vocabulary import Vocabulary
from flan.templates.template import Rendered

INPUT_LENGTH, TARGET_LENGTH = 1024, 256


class Tokenized(NamedTuple):
    """Some examples, end to end.

    Attributes:
      tokens: int32 `[tokens]`, inputs + EOS + targets + EOS of each.
      lengths: int64 `[examples]`, tokens of each.
      input_lengths: int32 `[examples]`, those of them that are inputs with their EOS.
      cut_inputs, cut_targets: examples whose inputs or targets lost their tail.
      cut: examples that lost either.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    input_lengths: np.ndarray
    cut_inputs: int
    cut_targets: int
    cut: int


def tokenize(
    vocabulary: Vocabulary,
    examples: Sequence[Rendered],
    input_length: int = INPUT_LENGTH,
    target_length: int = TARGET_LENGTH,
) -> Tokenized:
    """Tokenizes examples in one batch.

    Inputs keep their first `input_length - 1` tokens and targets their first
    `target_length - 1`, so that each has its EOS within its length (as
    `seqio.preprocessors.append_eos_after_trim` does). An empty target (raw text) adds
    nothing, so that a text ends in one EOS.

    Raises ValueError for a length below 2 (a token and EOS).
    """
    check_lengths(input_length, target_length)
    eos = vocabulary.eos_id
    inputs = vocabulary.encode_batch([e.input for e in examples])
    targets = vocabulary.encode_batch([e.target for e in examples])
    ids: list[int] = []
    lengths, input_lengths = [], []
    cut_inputs = cut_targets = cut = 0
    for x, y in zip(inputs, targets, strict=True):
        long_x, long_y = len(x) >= input_length, len(y) >= target_length
        cut_inputs += long_x
        cut_targets += long_y
        cut += long_x or long_y
        before = len(ids)
        ids += x[: input_length - 1]
        ids.append(eos)
        input_lengths.append(len(ids) - before)
        if y:
            ids += y[: target_length - 1]
            ids.append(eos)
        lengths.append(len(ids) - before)
    return Tokenized(
        np.array(ids, np.int32),
        np.array(lengths, np.int64),
        np.array(input_lengths, np.int32),
        cut_inputs,
        cut_targets,
        cut,
    )


def check_lengths(input_length: int, target_length: int) -> None:
    """ValueError for a length that has no room for a token and EOS."""
    if input_length < 2 or target_length < 2:
        raise ValueError(
            f"lengths must be 2 or more (a token and EOS), got inputs {input_length}, "
            f"targets {target_length}"
        )
