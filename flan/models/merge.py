"""LoRA folded into the network that it was trained on."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from flan.models.adapters import Lora
from flan.models.config import ModelConfig


def merged(params: Any, config: ModelConfig) -> tuple[Any, ModelConfig]:
    """The same function without LoRA: parameters of the plain network, and its config.

    Args:
      params: of `config`, as arrays; the kernels that are adapted are consumed.
      config: of a network with LoRA; any other is given back as it is, with its parameters.

    Returns:
      Parameters in their dtypes, each where it lay, and `config` without the adapter.
    """
    if not isinstance(config.adapter, Lora):
        return params, config
    return _merged(params, config.adapter.scale), config.plain


def _merged(tree: Any, scale: float) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "lora_a" not in tree:
        return {name: _merged(value, scale) for name, value in tree.items()}
    rest = {name: value for name, value in tree.items() if name not in ("lora_a", "lora_b")}
    kernel = tree["kernel"]
    return {
        **rest,
        "kernel": _added(kernel.sharding)(kernel, tree["lora_a"], tree["lora_b"], scale),
    }


@functools.cache
def _added(sharding: Any) -> Any:
    # One kernel at a time: no second copy of the parameters is ever there.
    return jax.jit(_product_added, out_shardings=sharding, donate_argnums=0)


def _product_added(kernel: jax.Array, a: jax.Array, b: jax.Array, scale: float) -> jax.Array:
    """Kernel `[..., in, out]` plus scale times `[..., in, rank]` times `[..., rank, out]`."""
    product = jnp.matmul(
        a.astype(jnp.float32), b.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
    )
    return (kernel.astype(jnp.float32) + scale * product).astype(kernel.dtype)
