"""Greedy answers to many prompts, in batches of prompts of similar length."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from flan.evaluation.prompts import GenerationRequest


@dataclasses.dataclass(frozen=True)
class GenerationShapes:
    """The fixed set of shapes that prompts are padded to.

    Attributes:
      prompt_length: the longest prompt.
      batch_rows: prompts decoded together.
      shortest: the shortest padded length; lengths double up to `prompt_length`.
    """

    prompt_length: int = 1024
    batch_rows: int = 8
    shortest: int = 64

    def __post_init__(self) -> None:
        if min(self.prompt_length, self.batch_rows, self.shortest) < 1:
            raise ValueError(f"generation shapes must be positive, got {self}")

    def of(self, length: int) -> int:
        """The padded length of a prompt; ValueError for one that is longer than the longest."""
        if length > self.prompt_length:
            raise ValueError(
                f"a prompt of {length} tokens does not fit into {self.prompt_length}; "
                "raise prompt_length or cut the inputs shorter"
            )
        padded = self.shortest
        while padded < length:
            padded *= 2
        return min(padded, self.prompt_length)


def generate(
    model: Any,
    params: Any,
    requests: Sequence[GenerationRequest],
    *,
    eos_id: int,
    start_id: int | None = 0,
    max_new_tokens: int = 256,
    shapes: GenerationShapes | None = None,
    on_progress: Callable[[int], Any] = lambda done: None,
) -> list[list[int]]:
    """The greedy continuation of each prompt, in the order given.

    Args:
      model: a `flan.models.Transformer`.
      params: its parameters.
      requests: prompts of one token or more.
      eos_id: ends an answer.
      start_id: token read before a prompt (`EvaluationModel.start_id`); None for a model that
        begins with the prompt itself.
      max_new_tokens: tokens written at most, EOS included.
      shapes: how prompts are batched.
      on_progress: called with the number of prompts finished since its last call.

    Returns:
      Token ids of each answer, without EOS and what follows.

    Raises:
      ValueError: an empty prompt, or one longer than `shapes.prompt_length`.
    """
    from flan.models.decoding import greedy_decode

    shapes = shapes or GenerationShapes()
    by_length: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        if not request.prompt:
            raise ValueError(f"prompt {number} is empty; there is nothing to continue")
        by_length.setdefault(shapes.of(len(request.prompt)), []).append(number)

    answers: list[list[int]] = [[] for _ in requests]
    for length in sorted(by_length):
        # A batch decodes until its slowest row is done: neighbours in length share one.
        numbers = sorted(by_length[length], key=lambda n: len(requests[n].prompt))
        for first in range(0, len(numbers), shapes.batch_rows):
            chosen = numbers[first : first + shapes.batch_rows]
            # Rows without a prompt repeat a real one, which cannot outlast it.
            filled = chosen + chosen[-1:] * (shapes.batch_rows - len(chosen))
            prompts = np.zeros((shapes.batch_rows, length), np.int32)
            for row, number in enumerate(filled):
                prompts[row, : len(requests[number].prompt)] = requests[number].prompt
            lengths = np.array([len(requests[n].prompt) for n in filled], np.int32)
            written = greedy_decode(
                model,
                params,
                jnp.asarray(prompts),
                jnp.asarray(lengths),
                max_new_tokens=max_new_tokens,
                eos_id=eos_id,
                bos_id=start_id,
            )
            for number, ids in zip(chosen, np.asarray(written).tolist(), strict=False):
                answers[number] = ids[: ids.index(eos_id)] if eos_id in ids else ids
            on_progress(len(chosen))
    return answers
