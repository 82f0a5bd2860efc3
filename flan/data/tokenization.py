"""From text to the token ids of examples: x + EOS + y + EOS, cut to length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flan.data.sentencepiece_vocabulary import flatten
from flan.data.vocabulary import Vocabulary
from flan.data.word_cache import ranges
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
    texts = [text for e in examples for text in (e.input, e.target)]
    ids, lengths = _encode(vocabulary, texts)
    limits = np.tile([input_length - 1, target_length - 1], len(examples))
    kept = np.minimum(lengths, limits)
    # Room for EOS; an empty target has none.
    sizes = kept + 1
    sizes[1::2] *= kept[1::2] > 0
    ends = np.cumsum(sizes)
    tokens = np.full(ends[-1] if len(ends) else 0, vocabulary.eos_id, np.int32)
    tokens[ranges(ends - sizes, kept)] = ids[ranges(np.cumsum(lengths) - lengths, kept)]
    long = (lengths > limits).reshape(-1, 2)
    cut_inputs, cut_targets = long.sum(axis=0).tolist()
    by_example = sizes.reshape(-1, 2)
    return Tokenized(
        tokens,
        by_example.sum(axis=1),
        by_example[:, 0].astype(np.int32),
        cut_inputs,
        cut_targets,
        int(long.any(axis=1).sum()),
    )


def _encode(vocabulary: Vocabulary, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of texts end to end, and how many each has; without a list of each where it can be."""
    if encode_flat := getattr(vocabulary, "encode_flat", None):
        return encode_flat(texts)
    return flatten(vocabulary.encode_batch(texts))


def check_lengths(input_length: int, target_length: int) -> None:
    """ValueError for a length that has no room for a token and EOS."""
    if input_length < 2 or target_length < 2:
        raise ValueError(
            f"lengths must be 2 or more (a token and EOS), got inputs {input_length}, "
            f"targets {target_length}"
        )
