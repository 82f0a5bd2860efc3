"""Rank classification: how probable a model finds each option of an example.

One forward pass scores all options of an example, in float32 log-softmax: the context is
read once, the options hang off it by attention mask and positions, and many examples share
a row (`flan.evaluation.option_rows`). A score depends neither on what else is in its batch
nor on padding, and `jit` compiles a few shapes only. Logits are computed where an option's
token is predicted, nowhere else.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan.evaluation.option_rows import Piece, Row, RowArrays, batches, split_request
from flan.evaluation.prompts import RankRequest
from flan.evaluation.scores import OptionScores
from flan.evaluation.shapes import BatchShapes
from flan.evaluation.unconditional import Option, UnconditionalScores, unknown_options
from flan.models.layers import steady_sum

_RUNNING = 2  # batches given to the device before the first is collected


def score_requests(
    model: Any,
    params: Any,
    requests: Sequence[RankRequest],
    *,
    start_id: int | None = 0,
    shapes: BatchShapes | None = None,
    unconditional: UnconditionalScores | None = None,
    on_progress: Callable[[int], Any] = lambda done: None,
) -> list[OptionScores]:
    """Scores all options of all requests, in the order given.

    Args:
      model: called as `flan.models.Transformer`, with `decoder_option_ids` and
        `logit_positions`. With its `prefix_lm` it sees contexts both ways.
      params: its parameters.
      requests: contexts with their options.
      start_id: token read before a context (`Vocabulary.bos_id`); None for a model that
        starts with the context's first token itself.
      shapes: how requests are batched; no score depends on it.
      unconditional: what is known of this model's options, and learns the rest.
      on_progress: called with the number of requests finished since its last call.

    Raises:
      ValueError: a request with no options, an empty option or an empty context without a
        start token, or one longer than the rows. Nothing has been computed then.
    """
    shapes = shapes or BatchShapes()
    known = UnconditionalScores() if unconditional is None else unconditional
    sums = [np.zeros(len(r.options)) for r in requests]
    pieces = [p for i, r in enumerate(requests) for p in _pieces(i, r, start_id, shapes)]
    asked: list[tuple[Option, list[Option]]] = []
    for domain, options in unknown_options(requests, known):
        prefix = domain if start_id is None else (start_id, *domain)
        pieces += split_request(len(sums), prefix, options, shapes)
        asked.append((domain, options))
        sums.append(np.zeros(len(options)))

    waiting = collections.Counter(p.request for p in pieces)
    running: collections.deque[tuple[list[Row], jax.Array]] = collections.deque()

    def collect() -> None:
        rows, log_probs = running.popleft()
        values = np.asarray(log_probs, np.float64)
        if not np.isfinite(values).all():
            raise ValueError(
                "log-probabilities that are no finite numbers: the network overflows in "
                f"{model.config.dtype}; compute in float32 if it is not, else the weights are bad"
            )
        done = 0
        for r, row in enumerate(rows):
            at = 0
            for piece in row.pieces:
                for option, ids in enumerate(piece.options, start=piece.first):
                    sums[piece.request][option] = values[r, at : at + len(ids)].sum()
                    at += len(ids)
                waiting[piece.request] -= 1
                done += not waiting[piece.request] and piece.request < len(requests)
        on_progress(done)

    for rows, arrays in batches(pieces, shapes):
        running.append((rows, _log_probs(model, params, arrays)))
        if len(running) >= _RUNNING:
            collect()
    while running:
        collect()

    for (domain, options), values in zip(asked, sums[len(requests) :], strict=True):
        for option, value in zip(options, values, strict=True):
            known.add((domain, option), float(value))
    scores = [
        OptionScores(
            total,
            np.array([known[request.domain, option] for option in request.options]),
            np.array([len(o) for o in request.options]),
            np.array(request.option_bytes),
        )
        for total, request in zip(sums, requests, strict=False)
    ]
    known.trim()
    return scores


@functools.partial(jax.jit, static_argnames=("model",))
def _log_probs(model: Any, params: Any, arrays: RowArrays) -> jax.Array:
    """Float32 `[B, W]` log-probabilities of the wanted tokens."""
    logits = model.apply(
        {"params": params},
        arrays.tokens,
        decoder_segment_ids=arrays.segment_ids,
        decoder_positions=arrays.positions,
        decoder_causal_attention=both_ways(arrays) if model.prefix_lm else None,
        decoder_option_ids=arrays.option_ids,
        logit_positions=arrays.places,
    ).astype(jnp.float32)
    # A log-sum-exp whose bits do not depend on the rows beside it.
    top = jnp.max(logits, axis=-1, keepdims=True)
    normalizers = (jnp.log(steady_sum(jnp.exp(logits - top))) + top)[..., 0]
    rows = jnp.arange(logits.shape[0])[:, None]
    chosen = logits[rows, arrays.slots, arrays.wanted]
    return chosen - jnp.take_along_axis(normalizers, arrays.slots, axis=1)


def both_ways(arrays: RowArrays) -> jax.Array:
    """Places `[B, L]` of contexts but their last, as a prefix-LM sees its inputs in training.

    The last, which predicts the first token of each option, looks back only.
    """

    def next_of(x: Any) -> jax.Array:
        return jnp.pad(jnp.asarray(x)[:, 1:], ((0, 0), (0, 1)))

    shared = (arrays.segment_ids > 0) & (arrays.option_ids == 0)
    goes_on = (next_of(arrays.segment_ids) == arrays.segment_ids) & next_of(shared)
    return shared & goes_on


def _pieces(
    number: int, request: RankRequest, start_id: int | None, shapes: BatchShapes
) -> Iterator[Piece]:
    if not request.options or not all(request.options):
        raise ValueError(f"request {number} has no options or an empty one: {request.options}")
    if start_id is None and not (request.context and request.domain):
        raise ValueError(
            f"request {number} has an empty context or domain, and there is no start token"
        )
    prefix = request.context if start_id is None else (start_id, *request.context)
    return split_request(number, prefix, request.options, shapes)
