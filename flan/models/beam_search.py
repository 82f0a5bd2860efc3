"""Beam search against a key/value cache.

Shapes: B prompts, K beams, N new tokens at most, V vocabulary, M stop tokens.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flan.models.decoding import prefill
from flan.models.transformer import Transformer

_NEVER = -1e9  # the log-probability of what is not there


class Beams(NamedTuple):
    """Sequences found for each prompt, the best first.

    Attributes:
      tokens: int32 `[B, K, N]`, the stop token included, 0 after it.
      lengths: int32 `[B, K]`, tokens of each.
      scores: float32 `[B, K]`, log-probability divided by the length penalty; -1e9 where
        fewer than K sequences were found.
    """

    tokens: jax.Array
    lengths: jax.Array
    scores: jax.Array


def length_penalty(length: jax.Array | int, alpha: float) -> jax.Array:
    """((5 + length) / 6)^alpha (arXiv 1609.08144, equation 14)."""
    return jnp.power((5.0 + length) / 6.0, alpha)


@functools.partial(
    jax.jit,
    static_argnames=("model", "beams", "alpha", "max_new_tokens", "stop_ids", "start_id"),
)
def beam_search(
    model: Transformer,
    params: Any,
    prompts: jax.Array,
    lengths: jax.Array,
    beams: int,
    alpha: float,
    max_new_tokens: int,
    stop_ids: tuple[int, ...],
    start_id: int | None,
) -> Beams:
    """The continuations with the highest penalized log-probability that K beams find.

    A continuation ends with a stop token or has N tokens. A row is finished when no living
    beam can still beat its K finished ones; the search ends when all rows are.

    Args:
      model, params: the network.
      prompts, lengths, start_id: as in `flan.models.decoding.prefill`.
      beams: K.
      alpha: of the length penalty.
      max_new_tokens: N.
      stop_ids: tokens that end a sequence, one or more.
    """
    batch, most = prompts.shape[0], max_new_tokens
    stops = jnp.array(stop_ids, jnp.int32)
    cache, last = prefill(model, params, prompts, lengths, start_id)

    def rows_of(x: jax.Array) -> int:
        # An index is [1, B], anything else [..., B, heads, places, head size].
        return 1 if x.ndim == 2 else x.ndim - 4

    def widened(x: jax.Array) -> jax.Array:
        if x.ndim > 2:  # room for what is written
            x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, most), (0, 0)])
        return jnp.repeat(x, beams, axis=rows_of(x))

    cache = jax.tree.map(widened, cache)
    first = jnp.full((batch, beams), _NEVER).at[:, 0].set(0.0)
    nothing = Beams(
        jnp.zeros((batch, beams, most), jnp.int32),
        jnp.zeros((batch, beams), jnp.int32),
        jnp.full((batch, beams), _NEVER),
    )
    start = (
        jnp.int32(0),
        cache,
        jnp.repeat(last, beams),
        jnp.zeros((batch, beams, most), jnp.int32),
        first,
        nothing,
    )

    def merged(found: Beams, tokens: jax.Array, length: jax.Array, scores: jax.Array) -> Beams:
        """The best K of what was found and of new sequences of one length."""
        everything = Beams(
            jnp.concatenate([found.tokens, tokens], axis=1),
            jnp.concatenate([found.lengths, jnp.full(scores.shape, length)], axis=1),
            jnp.concatenate([found.scores, scores], axis=1),
        )
        best, place = jax.lax.top_k(everything.scores, beams)
        return Beams(
            jnp.take_along_axis(everything.tokens, place[:, :, None], axis=1),
            jnp.take_along_axis(everything.lengths, place, axis=1),
            best,
        )

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        number, cache, token, living, log_probs, found = state
        logits, changed = model.apply(
            {"params": params, "cache": cache},
            token[:, None],
            token[:, None],
            decode=True,
            mutable=["cache"],
        )
        next_log_probs = jax.nn.log_softmax(logits[:, 0].astype(jnp.float32), axis=-1)
        totals = log_probs[:, :, None] + next_log_probs.reshape(batch, beams, -1)
        vocabulary = totals.shape[-1]
        length = number + 1

        # Ends: each beam with each stop token.
        ends = totals[:, :, stops].reshape(batch, -1)  # [B, K * M]
        kept = min(beams, ends.shape[1])
        end_totals, place = jax.lax.top_k(ends, kept)
        ending = jnp.take_along_axis(living, (place // len(stop_ids))[:, :, None], axis=1)
        ending = ending.at[:, :, number].set(stops[place % len(stop_ids)])
        scores = jnp.where(
            end_totals > _NEVER / 2, end_totals / length_penalty(length, alpha), _NEVER
        )
        found = merged(found, ending, length, scores)

        # Goes on: the best K of all others.
        others = totals.at[:, :, stops].set(2 * _NEVER).reshape(batch, -1)
        log_probs, place = jax.lax.top_k(others, beams)
        parent, new = place // vocabulary, place % vocabulary
        living = jnp.take_along_axis(living, parent[:, :, None], axis=1).at[:, :, number].set(new)
        rows = (jnp.arange(batch)[:, None] * beams + parent).reshape(-1)
        cache = jax.tree.map(lambda x: jnp.take(x, rows, axis=rows_of(x)), changed["cache"])
        return length, cache, new.reshape(-1), living, log_probs, found

    def going(state: tuple[Any, ...]) -> jax.Array:
        number, _, _, _, log_probs, found = state
        # Later tokens only lower a sum; a penalty may raise the quotient up to one end.
        ends = jnp.stack([length_penalty(number + 1, alpha), length_penalty(most, alpha)])
        hope = jnp.max(log_probs[:, 0, None] / ends, axis=-1)
        return (number < most) & jnp.any(hope > found.scores[:, -1])

    number, _, _, living, log_probs, found = jax.lax.while_loop(going, step, start)
    # What still lives after N tokens is a sequence too.
    alive = (number >= most) & (log_probs > _NEVER / 2)
    scores = jnp.where(alive, log_probs / length_penalty(most, alpha), _NEVER)
    return merged(found, living, number, scores)
