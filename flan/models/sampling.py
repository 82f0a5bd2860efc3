"""Which token is written next: the most probable one, or one drawn at random.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

# Below this float32 has no normal numbers left: divisors would be 0 on some devices.
_COLDEST = 1e-30


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How answers are written. The default is greedy.

    Attributes:
      temperature: divides the logits before a token is drawn; 0 takes the most probable one.
      top_k: draw among so many most probable tokens only; 0 among all.
      top_p: draw among the most probable tokens that together reach this probability
        (arXiv 1904.09751), after `top_k`.
      seed: of what is drawn.
      beams: sequences kept by beam search; 1 does without it.
      length_penalty: alpha of beam search's ((5 + length) / 6)^alpha, which divides a
        sequence's log-probability (arXiv 1609.08144, equation 14).
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    beams: int = 1
    length_penalty: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 (greedy) or more, got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (all tokens) or more, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.beams < 1:
            raise ValueError(f"beams must be 1 or more, got {self.beams}")
        if not -10 <= self.length_penalty <= 10:
            raise ValueError(f"length_penalty must be small, got {self.length_penalty}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to {2**32 - 1}, got {self.seed}")
        if self.beams > 1 and self.temperature > 0:
            raise ValueError("beam search draws nothing: leave the temperature at 0")
        if self.temperature == 0 and (self.top_k or self.top_p < 1):
            raise ValueError("top_k and top_p need a temperature above 0, such as 1")

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is taken each time."""
        return self.temperature == 0 and self.beams == 1


def choose(logits: jax.Array, decoding: Decoding, rows: jax.Array, steps: jax.Array) -> jax.Array:
    """The next token of each row.

    Args:
      logits: float32 `[B, V]`.
      decoding: the rule.
      rows: uint32 `[B]`, which prompt each row is: what is drawn depends on the seed, on
        this number and on the step, not on what else is decoded beside it.
      steps: int32 `[B]`, tokens written before.

    Returns:
      int32 `[B]`.
    """
    if decoding.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    draws = jax.vmap(
        lambda row, step: jax.random.uniform(
            jax.random.fold_in(jax.random.fold_in(jax.random.key(decoding.seed), row), step)
        )
    )(rows, steps)
    vocabulary = logits.shape[-1]
    kept = min(decoding.top_k or vocabulary, vocabulary)
    if kept == vocabulary and decoding.top_p == 1:
        tokens = jnp.broadcast_to(jnp.arange(vocabulary), logits.shape)
    else:
        logits, tokens = jax.lax.top_k(logits, kept)  # descending
    # Less the highest first: divided by a tiny temperature, two logits may both be infinite.
    highest = jnp.max(logits, axis=-1, keepdims=True)
    temperature = max(decoding.temperature, _COLDEST)
    probabilities = jax.nn.softmax((logits - highest) / temperature, axis=-1)
    if decoding.top_p < 1:
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        probabilities = jnp.where(before < decoding.top_p, probabilities, 0.0)
    reached = jnp.cumsum(probabilities, axis=-1)
    # Inverse of the distribution function; a draw below 1 cannot pass the last token with
    # any probability, whatever the sum's rounding.
    wanted = draws[:, None] * reached[:, -1:]
    place = jnp.argmax(reached > wanted, axis=-1)
    return jnp.take_along_axis(tokens, place[:, None], axis=-1)[:, 0].astype(jnp.int32)
