"""Which kernel attends, by backend, and each kernel on its part of the mesh.

`plain` is XLA's own; `blocked` is `flan.models.blocked_attention`; `cudnn` is cuDNN's flash
attention, through `jax.nn`; `splash` is JAX's Pallas kernel for TPUs, which skips the blocks
that a mask hides and knows segments, but no bias. A kernel sees whole rows and whole heads:
`shard_map` gives each device its own.

Shapes: B batch, L length, H heads, K key/value heads, d head size.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import PartitionSpec

from flan.models.blocked_attention import blocked_attend
from flan.models.config import ModelConfig

# Shorter rows leave nothing to skip, and compile faster without blocks.
_SHORTEST = 512
_SPLASH_LANES = 128


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What attends in every layer.

    Attributes:
      name: `plain`, `blocked`, `cudnn` or `splash`.
      causal: the mask hides all later keys.
      in_turn: `blocked` takes one head after the other.
      steady: sums are taken so that they give the same bits whatever surrounds a token, in
        attention (`blocked` always does on CPUs), norms and the normalizer of scores.
    """

    name: str
    causal: bool = True
    in_turn: bool = False
    steady: bool = False

    @property
    def wants_segments(self) -> bool:
        """Whether it takes segment ids `[B, L]` where others take a mask."""
        return self.name == "splash"


PLAIN = Kernel("plain")


def choose_kernel(
    config: ModelConfig, batch: int, length: int, causal: bool, options: bool
) -> Kernel:
    """The kernel for rows that attend to themselves.

    Args:
      config: whose `attention` names one, or is `auto`.
      batch, length: B, L of the rows.
      causal: no token sees a later one.
      options: rows hold options of one text (`decoder_option_ids`), whose scores must not move
        with what else is in the batch.

    Returns:
      The named one, or with `auto` the fastest that takes these rows: on TPUs `splash`, on GPUs
      `cudnn`, on CPUs `blocked`, else `plain`.

    Raises:
      ValueError: the named one cannot do what is asked; the message says why.
    """
    platform, sizes = _place()
    refusals = {
        "plain": "",
        "blocked": _not_dealt_out(config, batch, sizes),
        "cudnn": _not_for_cudnn(config, batch, length, platform, sizes),
        "splash": _not_for_splash(config, batch, length, causal, options, platform, sizes),
    }
    in_turn = platform == "cpu"
    if config.attention != "auto":
        if reason := refusals[config.attention]:
            raise ValueError(
                f"attention={config.attention!r} cannot be used here: {reason}; "
                "attention='auto' takes the fastest that can"
            )
        return Kernel(config.attention, causal, in_turn, options and in_turn)
    fastest = {"tpu": "splash", "gpu": "cudnn", "cpu": "blocked"}.get(platform, "plain")
    steady = options and in_turn
    if (length < _SHORTEST and not steady) or refusals[fastest]:
        return Kernel("plain", steady=steady)
    return Kernel(fastest, causal, in_turn, steady)


def attend_with(
    kernel: Kernel,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array,
    scale: float,
) -> jax.Array:
    """`flan.models.attention.attend` through a kernel.

    Args:
      kernel: from `choose_kernel`.
      query: `[B, L, H, d]`.
      key, value: `[B, L, K, d]`.
      bias: float32 `[B or 1, H, L, L]`, or None.
      mask: bool `[B or 1, 1, L, L]`, or int32 segment ids `[B, L]` where the kernel
        `wants_segments`.
      scale: factor on the logits before the bias.

    Returns:
      `[B, L, H, d]` in the dtype of `value`.
    """

    def local(
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        bias: jax.Array | None,
        mask: jax.Array,
    ) -> jax.Array:
        if kernel.name == "splash":
            return _splash(query, key, value, mask, scale)
        if kernel.name == "cudnn":
            return _cudnn(query, key, value, bias, mask, scale)
        return blocked_attend(query, key, value, bias, mask, scale, kernel.causal, kernel.in_turn)

    if math.prod(jax.sharding.get_abstract_mesh().shape.values()) == 1:
        return local(query, key, value, bias, mask)
    rows, heads = _mesh_axes()
    whole = PartitionSpec(rows, None, heads, None)
    of_mask = PartitionSpec(rows if mask.shape[0] > 1 else None)
    of_bias = None
    if bias is not None:
        of_bias = PartitionSpec(rows if bias.shape[0] > 1 else None, heads)
    return jax.shard_map(
        local,
        in_specs=(whole, whole, whole, of_bias, of_mask),
        out_specs=whole,
        # Kernels do not say over which axes their results vary.
        check_vma=False,
    )(query, key, value, bias, mask)


def _splash(
    query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, scale: float
) -> jax.Array:
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    length, heads = query.shape[1:3]
    mask = splash.MultiHeadMask([splash.CausalMask((length, length))] * heads)
    block = next(b for b in (512, 256, 128) if length % b == 0)
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    kernel = splash.make_splash_mha_single_device(
        mask, block_sizes=sizes, interpret=_place()[0] == "cpu"
    )

    def row(q: jax.Array, k: jax.Array, v: jax.Array, ids: jax.Array) -> jax.Array:
        return kernel(q, k, v, segment_ids=splash.SegmentIds(ids, ids))

    query, key, value = ((x.swapaxes(1, 2)) for x in (query * scale, key, value))
    return jax.vmap(row)(query, key, value, segments).swapaxes(1, 2).astype(value.dtype)


def _cudnn(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array,
    scale: float,
) -> jax.Array:
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias=None if bias is None else bias.astype(query.dtype),
        mask=mask,
        scale=scale,
        implementation="cudnn",
    )


def _place() -> tuple[str, dict[str, int] | None]:
    """Platform, and devices along each mesh axis; None for the latter where no mesh is known."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return jax.default_backend(), {} if jax.device_count() == 1 else None
    # The mesh's devices need not be this process's: `flan plan` compiles for others.
    device = mesh.abstract_device
    return device.platform if device else jax.default_backend(), dict(mesh.shape)


def _mesh_axes() -> tuple[Any, Any]:
    """Mesh axes of rows and of heads."""
    axes = nn.logical_to_mesh_axes(("batch", "heads"))
    assert axes is not None
    return axes[0], axes[1]


def _not_dealt_out(config: ModelConfig, batch: int, sizes: dict[str, int] | None) -> str:
    """Why whole rows and heads cannot be given to each device; empty if they can."""
    if sizes is None:
        return "several devices and no mesh to deal rows and heads out to"
    counts = (("rows", batch), ("key/value heads", config.kv_heads))
    for (what, count), names in zip(counts, _mesh_axes(), strict=True):
        names = (names,) if isinstance(names, str) else names or ()
        parts = math.prod(sizes.get(n, 1) for n in names)
        if count % parts:
            return f"{count} {what} cannot be dealt out to {parts} devices"
    return ""


def _not_for_cudnn(
    config: ModelConfig, batch: int, length: int, platform: str, sizes: dict[str, int] | None
) -> str:
    if platform not in ("gpu", "cuda"):
        return f"cuDNN needs an NVIDIA GPU, the platform is {platform}"
    if config.dtype != "bfloat16":
        return f"cuDNN's flash attention computes in bfloat16, dtype is {config.dtype}"
    if config.d_head % 8 or config.d_head > 128:
        return f"cuDNN takes heads of 8, 16, ... 128, d_head is {config.d_head}"
    if length % 2:
        # The mask is a bias to it, and the gradient of one needs rows of even length.
        return f"cuDNN takes masked rows of an even number of tokens, these have {length}"
    return _not_dealt_out(config, batch, sizes)


def _not_for_splash(
    config: ModelConfig,
    batch: int,
    length: int,
    causal: bool,
    options: bool,
    platform: str,
    sizes: dict[str, int] | None,
) -> str:
    if platform not in ("tpu", "cpu"):
        return f"splash attention is made for TPUs, the platform is {platform}"
    if config.positions == "relative":
        return "splash attention takes no bias, and positions='relative' is one"
    if not causal or options:
        return "splash attention is causal here: no prefix-LM, no options in one row"
    if length % _SPLASH_LANES:
        return f"splash attention takes rows of 128, 256, ... tokens, these have {length}"
    return _not_dealt_out(config, batch, sizes)
