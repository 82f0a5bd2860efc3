"""Answers to many prompts: prompts of similar length together, each slot refilled when it is free."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from flan.evaluation.prompts import GenerationRequest
from flan.models.beam_search import beam_search
from flan.models.decoding import Slots, admit, advance, empty_slots, only
from flan.models.sampling import Decoding

# Tokens of padding that must be saved before prompts are read at a length of their own, which
# is a program to compile: on CPUs, about as long as it takes to read them.
_WORTH_COMPILING = 2**14
# Prompts of the shortest kind decoded together, over those of the longest.
_MOST_MORE = 4
# When no prompt waits and all but one slot in four are free, the rest goes on in a batch of that
# size, which a step is faster for; each size is a program to compile, small ones gain too little.
_SHRINK, _WORTH_SHRINKING = 4, 32


@dataclasses.dataclass(frozen=True)
class GenerationShapes:
    """The fixed set of shapes that prompts are padded to.

    Attributes:
      prompt_length: the longest prompt.
      batch_rows: prompts of full length decoded together. Shorter ones come in larger numbers,
        up to `_MOST_MORE` times as many, since a step reads all weights whoever shares it.
      shortest: the shortest padded length; lengths double up to `prompt_length`.
      admitted: prompts read together; as many slots must be free before more are read.
      multiple: what numbers of rows are divisible by.
    """

    prompt_length: int = 1024
    batch_rows: int = 8
    shortest: int = 64
    admitted: int = 4
    multiple: int = 1

    def __post_init__(self) -> None:
        if min(dataclasses.astuple(self)) < 1:
            raise ValueError(f"generation shapes must be positive, got {self}")

    @classmethod
    def on_parts(cls, prompt_length: int, batch_rows: int, parts: int) -> GenerationShapes:
        """Shapes on devices that split rows into `parts`; numbers of rows are rounded up."""
        rows, admitted = (-(-rows // parts) * parts for rows in (batch_rows, cls.admitted))
        return cls(prompt_length, rows, admitted=admitted, multiple=parts)

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

    def half_way(self, padded: int, lengths: Sequence[int]) -> int:
        """3/4 of a padded length, where reading prompts of some lengths at that is worth it."""
        less = min(-(-padded * 3 // 64) * 16, padded)
        saved = sum(length <= less for length in lengths) * (padded - less)
        return less if saved >= _WORTH_COMPILING else padded

    def slots(self, length: int, most: int, prompts: int) -> int:
        """Prompts of padded length `length`, with `most` new tokens, decoded together."""
        more = min((self.prompt_length + most) // (length + most), _MOST_MORE)
        rows = 1
        while rows < min(self.batch_rows * more, prompts):
            rows *= 2
        return self._rounded(min(rows, self.batch_rows * more))

    def smaller(self, slots: int) -> int | None:
        """The size that a batch of so many slots shrinks to; None where it does not."""
        return self._rounded(slots // _SHRINK) if slots >= _WORTH_SHRINKING else None

    def _rounded(self, rows: int) -> int:
        return -(-rows // self.multiple) * self.multiple


def generate(
    model: Any,
    params: Any,
    requests: Sequence[GenerationRequest],
    *,
    eos_id: int,
    stop_ids: Sequence[int] = (),
    start_id: int | None = 0,
    max_new_tokens: int = 256,
    decoding: Decoding | None = None,
    ids: Sequence[int] | None = None,
    shapes: GenerationShapes | None = None,
    on_progress: Callable[[int], Any] = lambda done: None,
) -> list[list[int]]:
    """The continuation of each prompt, in the order given.

    Args:
      model: a `flan.models.Transformer`, faster as `flan.models.decoding.unrolled` gives it.
      params: its parameters.
      requests: prompts of one token or more.
      eos_id: ends an answer and is left out of it.
      stop_ids: further tokens that end an answer, and stay its last.
      start_id: token read before a prompt (`EvaluationModel.start_id`); None for a model that
        begins with the prompt itself.
      max_new_tokens: tokens written at most, the last one included.
      decoding: how tokens are chosen; greedily by default.
      ids: a number for each prompt, which with the seed decides what is drawn for it; its
        place by default.
      shapes: how prompts are batched; no answer depends on it.
      on_progress: called with the number of prompts finished since its last call.

    Returns:
      Token ids of each answer.

    Raises:
      ValueError: an empty prompt, or one longer than `shapes.prompt_length`.
    """
    shapes = shapes or GenerationShapes()
    decoding = decoding or Decoding()
    numbers = range(len(requests)) if ids is None else ids
    by_length: dict[int, list[int]] = {}
    for place, request in enumerate(requests):
        if not request.prompt:
            raise ValueError(f"prompt {place} is empty; there is nothing to continue")
        by_length.setdefault(shapes.of(len(request.prompt)), []).append(place)

    stops = tuple(dict.fromkeys((eos_id, *stop_ids)))
    run = _decode if decoding.beams == 1 else _search
    answers: list[list[int]] = [[] for _ in requests]
    for length, places in sorted(by_length.items()):
        prompts = [_Prompt(p, requests[p].prompt, numbers[p] % 2**32) for p in places]
        for place, answer in run(
            model, params, prompts, length, stops, start_id, max_new_tokens, decoding, shapes
        ):
            answers[place] = answer[:-1] if answer[-1] == eos_id else answer
            on_progress(1)
    return answers


@dataclasses.dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt, its place among the requests, and its number for drawing."""

    place: int
    tokens: tuple[int, ...]
    number: int


def _padded(
    prompts: Sequence[_Prompt], rows: int, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens `[rows, length]`, lengths and numbers `[rows]`; rows without a prompt hold one token."""
    tokens = np.zeros((rows, length), np.int32)
    lengths, numbers = np.ones(rows, np.int32), np.zeros(rows, np.uint32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt.tokens)] = prompt.tokens
        lengths[row], numbers[row] = len(prompt.tokens), prompt.number
    return tokens, lengths, numbers


def _decode(
    model: Any,
    params: Any,
    prompts: Sequence[_Prompt],
    length: int,
    stops: tuple[int, ...],
    start_id: int | None,
    most: int,
    decoding: Decoding,
    shapes: GenerationShapes,
) -> Iterator[tuple[int, list[int]]]:
    """(place, answer) of prompts up to `length`, as they finish.

    A finished row gives its slot to the next prompt, so that none waits for the slowest.
    """
    rows = shapes.slots(length, most, len(prompts))
    together = min(shapes.admitted, rows)
    # Sorted, so that those read together are padded to about their own length.
    waiting = collections.deque(sorted(prompts, key=lambda prompt: len(prompt.tokens)))
    less = shapes.half_way(length, [len(prompt.tokens) for prompt in waiting])
    held: dict[int, _Prompt] = {}
    slots: Slots = empty_slots(model, params, rows, length + most, most)
    while waiting or held:
        free = [slot for slot in range(rows) if slot not in held]
        while waiting and free:
            new = [waiting.popleft() for _ in range(min(together, len(waiting), len(free)))]
            taken, free = free[: len(new)], free[len(new) :]
            places = np.full(together, rows, np.int32)
            places[: len(taken)] = taken
            padded = _padded(new, together, less if len(new[-1].tokens) <= less else length)
            slots = admit(model, params, slots, places, *padded, start_id=start_id)
            held.update(zip(taken, new, strict=True))
        smaller = shapes.smaller(rows)
        if smaller and not waiting and len(held) <= smaller:
            places = np.resize(np.array(list(held), np.int32), smaller)
            slots, held = only(slots, places, len(held)), dict(enumerate(held.values()))
            rows = smaller
            continue
        until = max(len(held) - together, 0) if waiting else smaller or 0
        slots = advance(model, params, slots, jnp.int32(most), jnp.int32(until), decoding, stops)
        busy, lengths, written = map(np.asarray, (slots.busy, slots.lengths, slots.written))
        for slot in [s for s in held if not busy[s]]:
            yield held.pop(slot).place, written[slot, : lengths[slot]].tolist()


def _search(
    model: Any,
    params: Any,
    prompts: Sequence[_Prompt],
    length: int,
    stops: tuple[int, ...],
    start_id: int | None,
    most: int,
    decoding: Decoding,
    shapes: GenerationShapes,
) -> Iterator[tuple[int, list[int]]]:
    """(place, best answer) of prompts up to `length` by beam search, batch by batch."""
    rows = max(shapes.batch_rows // decoding.beams, 1)
    for first in range(0, len(prompts), rows):
        chosen = prompts[first : first + rows]
        # Rows without a prompt repeat a real one, which cannot outlast it.
        filled = [*chosen, *[chosen[-1]] * (rows - len(chosen))]
        tokens, lengths, _ = _padded(filled, rows, length)
        found = beam_search(
            model,
            params,
            tokens,
            lengths,
            beams=decoding.beams,
            alpha=decoding.length_penalty,
            max_new_tokens=most,
            stop_ids=stops,
            start_id=start_id,
        )
        best, counts = np.asarray(found.tokens[:, 0]), np.asarray(found.lengths[:, 0])
        for row, prompt in enumerate(chosen):
            yield prompt.place, best[row, : counts[row]].tolist()
