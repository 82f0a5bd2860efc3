"""Dense, RMSNorm and embedding layers with logical axes.

Shapes: B batch, L length, D d_model. Parameters carry logical axis names through
`param_with_axes`; which mesh axis a name lies on is decided in `flan.partitioning`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.partitioning import param_with_axes, with_sharding_constraint
from jax.ad_checkpoint import checkpoint_name

from flan.models.adapters import Lora

# T5X's initializer: truncated normal with variance 1 / fan_in.
kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


# What a remat policy may keep of a layer, by name: it does not look into `_product`.
PRODUCT = "product"


def _uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -0.5, 0.5)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Asks the partitioner for a layout by logical axis names; nothing without a mesh."""
    return with_sharding_constraint(x, axes)


class Dense(nn.Module):
    """Matrix product, `[..., in] -> [..., features]`, in `dtype`; a bias only where asked.

    Attributes:
      features: size of the output.
      axes: logical names of the kernel's two axes.
      scale: factor on the initial standard deviation.
      out_dtype: of the output; `dtype` by default.
      use_bias: add a bias, zero at first.
      lora: adapt the kernel; dropout needs a `dropout` random stream.
    """

    features: int
    axes: tuple[str, str]
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    scale: float = 1.0
    out_dtype: Any = None
    use_bias: bool = False
    lora: Lora | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
            return kernel_init(key, shape, dtype) * jnp.asarray(self.scale, dtype)

        shape = (x.shape[-1], self.features)
        kernel = param_with_axes("kernel", init, shape, self.param_dtype, axes=self.axes)
        product = checkpoint_name(
            _product(x.astype(self.dtype), kernel.astype(self.dtype)), PRODUCT
        )
        if self.use_bias:
            bias = param_with_axes(
                "bias",
                nn.initializers.zeros,
                (self.features,),
                self.param_dtype,
                axes=self.axes[1:],
            )
            product = product + bias.astype(jnp.float32)
        if self.lora is not None:
            product = product + self._low_rank(x, self.lora)
        return product.astype(self.out_dtype or self.dtype)

    def _low_rank(self, x: jax.Array, lora: Lora) -> jax.Array:
        """float32 `[..., features]`: x A B, scaled; both products through `rank` places."""
        a, b = (
            param_with_axes(name, init, shape, jnp.float32, axes=axes).astype(self.dtype)
            for name, init, shape, axes in (
                ("lora_a", kernel_init, (x.shape[-1], lora.rank), (self.axes[0], "lora_rank")),
                (
                    "lora_b",
                    nn.initializers.zeros,
                    (lora.rank, self.features),
                    ("lora_rank", self.axes[1]),
                ),
            )
        )
        x = nn.Dropout(lora.dropout_rate)(x, not self.has_rng("dropout")).astype(self.dtype)
        inner = jnp.matmul(x, a, preferred_element_type=jnp.float32).astype(self.dtype)
        return lora.scale * jnp.matmul(inner, b, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`[..., in] @ [in, out]`, float32; the kernel's gradient as `x` transposed by what comes in.

    JAX takes the incoming gradient transposed, which is wider in an MLP. On CPUs XLA fuses what
    computes it into the transposition: an activation's gradient, without vector instructions.
    """
    # Accumulating in float32 is what accelerators do anyway; on CPUs it also picks the fast
    # bfloat16 kernel (2.5 times the rate without it).
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


def _product_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
    return _product(x, kernel), (x, kernel)


def _product_backward(kept: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    leading = tuple(range(x.ndim - 1))
    dx = jax.lax.dot_general(
        gradient, kernel, (((x.ndim - 1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
    dkernel = jax.lax.dot_general(
        x, gradient, ((leading, leading), ((), ())), preferred_element_type=jnp.float32
    )
    return dx.astype(x.dtype), dkernel.astype(kernel.dtype)


_product.defvjp(_product_forward, _product_backward)


def steady_sum(x: jax.Array) -> jax.Array:
    """`[..., n] -> [..., 1]`: a sum whose bits do not depend on what else is in the array.

    A reduction's order follows the array's size on CPUs, a matrix product's does not.
    """
    return jnp.matmul(x, jnp.ones((x.shape[-1], 1), x.dtype), preferred_element_type=jnp.float32)


class RMSNorm(nn.Module):
    """Root-mean-square norm with a learned scale and no bias (arXiv 1910.07467); float32 inside.

    `steady` sums by `steady_sum`.
    """

    epsilon: float = 1e-6
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    axis: str = "embed"
    steady: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = param_with_axes(
            "scale", nn.initializers.ones, (x.shape[-1],), self.param_dtype, axes=(self.axis,)
        )
        x = x.astype(jnp.float32)
        square = jnp.square(x)
        if self.steady:
            mean = steady_sum(square) / x.shape[-1]
        else:
            mean = jnp.mean(square, axis=-1, keepdims=True)
        x = x * jax.lax.rsqrt(mean + self.epsilon)
        return (x * scale.astype(jnp.float32)).astype(self.dtype)


class Embed(nn.Module):
    """Token embedding `[B, L] -> [B, L, D]`; `attend` gives logits through the same table.

    With `prompt_length` P, ids from `vocab_size` on are the places of a soft prompt: float32
    embeddings `[P, D]` of their own, which no logit belongs to.
    """

    vocab_size: int
    features: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    prompt_length: int = 0

    def setup(self) -> None:
        self.embedding = param_with_axes(
            "embedding",
            nn.initializers.normal(1.0),
            (self.vocab_size, self.features),
            self.param_dtype,
            axes=("vocab", "embed"),
        )
        if self.prompt_length:
            self.soft_prompt = param_with_axes(
                "soft_prompt",
                _uniform,
                (self.prompt_length, self.features),
                jnp.float32,
                axes=("prompt", "embed"),
            )

    def __call__(self, tokens: jax.Array) -> jax.Array:
        # Looked up with whole rows: gathering from split ones would copy the table anyway.
        table = constrain(self.embedding.astype(self.dtype), "vocab", None)
        if not self.prompt_length:
            return jnp.take(table, tokens, axis=0)
        prompt = constrain(self.soft_prompt.astype(self.dtype), None, None)
        soft = jnp.take(prompt, tokens - self.vocab_size, axis=0, mode="clip")
        plain = jnp.take(table, tokens, axis=0, mode="clip")
        return jnp.where((tokens >= self.vocab_size)[..., None], soft, plain)

    def attend(self, x: jax.Array) -> jax.Array:
        """`[..., D] -> [..., vocab]` in float32."""
        return jnp.matmul(
            x.astype(self.dtype),
            self.embedding.astype(self.dtype).T,
            preferred_element_type=jnp.float32,
        )
