"""Greedy decoding: one prefill, then a token a step against the key/value cache."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from flan.models.transformer import Transformer


@functools.partial(jax.jit, static_argnames=("model", "max_new_tokens", "eos_id", "bos_id"))
def greedy_decode(
    model: Transformer,
    params: Any,
    prompts: jax.Array,
    prompt_lengths: jax.Array,
    max_new_tokens: int,
    eos_id: int,
    bos_id: int | None = 0,
) -> jax.Array:
    """The most probable continuation, token by token, of each prompt.

    Args:
      model, params: the network.
      prompts: int32 `[B, P]`, right-padded; the model reads them after `bos_id`.
      prompt_lengths: int32 `[B]`, real tokens of each prompt, at least 1.
      max_new_tokens: N, tokens written at most; decoding ends early when all rows have.
      eos_id: ends a row.
      bos_id: what the model reads first; None for one that begins with the prompt itself.

    Returns:
      int32 `[B, N]`: the new tokens, EOS included, 0 after it.
    """
    batch, length = prompts.shape
    if bos_id is None:
        read, read_lengths = prompts, prompt_lengths - 1
    else:
        start = jnp.full((batch, 1), bos_id, prompts.dtype)
        read, read_lengths = jnp.concatenate([start, prompts[:, :-1]], axis=1), prompt_lengths
    slots = jnp.ones((batch, length + max_new_tokens), jnp.int32)
    shapes = jax.eval_shape(
        lambda: model.apply({"params": params}, slots, slots, decode=True, mutable=["cache"])[1]
    )
    empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes["cache"])
    _, filled = model.apply(
        {"params": params, "cache": empty},
        read,
        read,
        prefill=True,
        prefill_lengths=read_lengths,
        mutable=["cache"],
        logit_positions=jnp.zeros((batch, 1), jnp.int32),
    )
    # The prefill counts all that comes before the last prompt token; that one is what the
    # first step reads (and, without a start token, writes to its slot once more).
    last = jnp.take_along_axis(prompts, prompt_lengths[:, None] - 1, axis=1)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        count, token, cache, done, output = state
        logits, changed = model.apply(
            {"params": params, "cache": cache}, token, token, decode=True, mutable=["cache"]
        )
        new = jnp.where(done, 0, jnp.argmax(logits[:, 0], axis=-1).astype(jnp.int32))
        output = output.at[:, count].set(new)
        return count + 1, new[:, None], changed["cache"], done | (new == eos_id), output

    def unfinished(state: tuple[Any, ...]) -> jax.Array:
        count, _, _, done, _ = state
        return (count < max_new_tokens) & ~jnp.all(done)

    output = jnp.zeros((batch, max_new_tokens), jnp.int32)
    done = jnp.zeros((batch,), bool)
    state = (jnp.int32(0), last.astype(jnp.int32), filled["cache"], done, output)
    return jax.lax.while_loop(unfinished, step, state)[-1]
