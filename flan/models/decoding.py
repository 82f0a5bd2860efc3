"""Decoding against a key/value cache: slots for prompts, filled and read out as they finish.

Shapes: B slots, S places of a slot's cache, N new tokens at most, M prompts admitted
together, P their padded length.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flan.models.sampling import Decoding, choose
from flan.models.transformer import Transformer

# Layers are unrolled for decoding where a second copy of the parameters is no burden.
_UNROLL_BYTES = 4 * 2**30


class Slots(NamedTuple):
    """Texts in the making.

    Attributes:
      cache: the model's cache of B rows of S places.
      token: int32 `[B]`, what each row reads next.
      written: int32 `[B, N]`, new tokens, the stop token included.
      lengths: int32 `[B]`, how many of them there are.
      busy: bool `[B]`; the others wait for a prompt.
      ids: uint32 `[B]`, which prompt each row is, see `flan.models.sampling.choose`.
    """

    cache: Any
    token: jax.Array
    written: jax.Array
    lengths: jax.Array
    busy: jax.Array
    ids: jax.Array


def unrolled(model: Transformer, params: Any) -> tuple[Transformer, Any]:
    """The same network with a parameter tree for each layer, unless it is too large to copy."""
    size = sum(p.size * p.dtype.itemsize for p in jax.tree.leaves(params))
    if not model.scan_layers or size > _UNROLL_BYTES:
        return model, params

    def layer(number: int) -> Any:
        return jax.tree.map(lambda p: p[number], params["layers"])

    split = {f"layers_{i}": layer(i) for i in range(model.config.num_layers)}
    rest = {name: tree for name, tree in params.items() if name != "layers"}
    return model.clone(scan_layers=False), {**rest, **split}


def empty_cache(model: Transformer, params: Any, rows: int, size: int) -> Any:
    """A cache of zeros for `rows` texts of `size` tokens."""
    slots = jax.ShapeDtypeStruct((rows, size), jnp.int32)
    shapes = jax.eval_shape(
        lambda p, s: model.apply({"params": p}, s, s, decode=True, mutable=["cache"])[1],
        params,
        slots,
    )
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes["cache"])


@functools.partial(jax.jit, static_argnames=("model", "rows", "size", "most"))
def empty_slots(model: Transformer, params: Any, rows: int, size: int, most: int) -> Slots:
    """`rows` slots for texts of `size` tokens, `most` of them new."""
    return Slots(
        empty_cache(model, params, rows, size),
        jnp.zeros((rows,), jnp.int32),
        jnp.zeros((rows, most), jnp.int32),
        jnp.zeros((rows,), jnp.int32),
        jnp.zeros((rows,), bool),
        jnp.zeros((rows,), jnp.uint32),
    )


def prefill(
    model: Transformer, params: Any, prompts: jax.Array, lengths: jax.Array, start_id: int | None
) -> tuple[Any, jax.Array]:
    """Reads all but the last token of each prompt.

    Args:
      model, params: the network.
      prompts: int32 `[M, P]`, right-padded; the model reads them after `start_id`.
      lengths: int32 `[M]`, real tokens of each, at least 1.
      start_id: what the model reads first; None for one that begins with the prompt itself.

    Returns:
      A cache of P places, and int32 `[M]`, the last token of each prompt: what the first
      step of decoding reads (and, without a start token, writes to its place once more).
    """
    count, length = prompts.shape
    if start_id is None:
        read, read_lengths = prompts, lengths - 1
    else:
        start = jnp.full((count, 1), start_id, prompts.dtype)
        read, read_lengths = jnp.concatenate([start, prompts[:, :-1]], axis=1), lengths
    both_ways = None
    if model.prefix_lm:
        # As in training, the last token of a prompt, which is read next, looks back only.
        both_ways = jnp.arange(length)[None] < read_lengths[:, None]
    _, filled = model.apply(
        {"params": params, "cache": empty_cache(model, params, count, length)},
        read,
        read,
        decoder_causal_attention=both_ways,
        prefill=True,
        prefill_lengths=read_lengths,
        mutable=["cache"],
        logit_positions=jnp.zeros((count, 1), jnp.int32),
    )
    last = jnp.take_along_axis(prompts, lengths[:, None] - 1, axis=1)[:, 0]
    return filled["cache"], last.astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=("model", "start_id"), donate_argnames=("slots",))
def admit(
    model: Transformer,
    params: Any,
    slots: Slots,
    places: jax.Array,
    prompts: jax.Array,
    lengths: jax.Array,
    ids: jax.Array,
    start_id: int | None,
) -> Slots:
    """Puts prompts into slots, whatever was there before.

    Args:
      model, params: the network.
      slots: with caches of more than P places.
      places: int32 `[M]`, the slot of each prompt; B for a prompt that is only there to
        fill the shape.
      prompts, lengths, start_id: as in `prefill`.
      ids: uint32 `[M]`, which prompt each is.
    """
    cache, last = prefill(model, params, prompts, lengths, start_id)

    def put(whole: jax.Array, part: jax.Array) -> jax.Array:
        if whole.ndim == 2:  # [1, B], the index of each row
            return whole.at[:, places].set(part, mode="drop")
        return whole.at[..., places, :, : part.shape[-2], :].set(part, mode="drop")

    return Slots(
        jax.tree.map(put, slots.cache, cache),
        slots.token.at[places].set(last, mode="drop"),
        slots.written,
        slots.lengths.at[places].set(0, mode="drop"),
        slots.busy.at[places].set(True, mode="drop"),
        slots.ids.at[places].set(ids.astype(jnp.uint32), mode="drop"),
    )


@jax.jit
def only(slots: Slots, places: jax.Array, busy: jax.Array) -> Slots:
    """Some slots as a batch of their own.

    Args:
      slots: with caches in any state.
      places: int32 `[M]`, which; one may come several times.
      busy: int32, how many of them are left busy, from the first on.
    """

    def pick(whole: jax.Array) -> jax.Array:
        # [1, B], or [..., B, K, S, d].
        return jnp.take(whole, places, axis=1 if whole.ndim == 2 else whole.ndim - 4)

    cache, *rest = slots
    few = Slots(jax.tree.map(pick, cache), *(part[places] for part in rest))
    return few._replace(busy=few.busy & (jnp.arange(len(places)) < busy))


@functools.partial(
    jax.jit, static_argnames=("model", "decoding", "stop_ids"), donate_argnames=("slots",)
)
def advance(
    model: Transformer,
    params: Any,
    slots: Slots,
    steps: jax.Array,
    until: jax.Array,
    decoding: Decoding,
    stop_ids: tuple[int, ...],
) -> Slots:
    """Writes a token a step in each busy slot.

    Args:
      model, params: the network.
      slots: rows in any state.
      steps: int32, tokens a row at most.
      until: int32; ends as soon as no more slots than this are busy.
      decoding: how tokens are chosen.
      stop_ids: tokens that end a row; N tokens end it as well.
    """
    stops = jnp.array(stop_ids, jnp.int32)
    rows = jnp.arange(slots.token.shape[0])
    most = slots.written.shape[1]

    def step(state: tuple[jax.Array, Slots]) -> tuple[jax.Array, Slots]:
        number, now = state
        token = now.token[:, None]
        logits, changed = model.apply(
            {"params": params, "cache": now.cache}, token, token, decode=True, mutable=["cache"]
        )
        new = choose(logits[:, 0], decoding, now.ids, now.lengths)
        place = jnp.where(now.busy, now.lengths, most)  # idle rows write nowhere
        lengths = now.lengths + now.busy
        ended = jnp.any(new[:, None] == stops, axis=1) | (lengths >= most)
        return number + 1, Slots(
            changed["cache"],
            new,
            now.written.at[rows, place].set(new, mode="drop"),
            lengths,
            now.busy & ~ended,
            now.ids,
        )

    def going(state: tuple[jax.Array, Slots]) -> jax.Array:
        number, now = state
        return (number < steps) & (jnp.sum(now.busy) > until)

    return jax.lax.while_loop(going, step, (jnp.int32(0), slots))[1]
