"""Sizes and switches of the transformer, as one frozen dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from flan.models.adapters import Adapter, Lora, SoftPrompt, adapter_from_json, adapter_to_json
from flan.models.rope_scaling import RopeScaling, scaling_from_json

Positions = Literal["relative", "rope"]
Remat = Literal["none", "dots", "full"]
Attention = Literal["auto", "plain", "blocked", "cudnn", "splash"]

# Several times those of the largest models there are: more is a damaged or hostile file's.
_LARGEST = {
    "num_layers": 1_000,
    "vocab_size": 1 << 23,
    "d_model": 1 << 18,
    "d_ff": 1 << 20,
    "num_heads": 1 << 12,
    "d_head": 1 << 12,
    "relative_buckets": 1 << 12,
}
# Beyond these float32 makes zeros or infinities of what is computed with them.
_RANGES = {"rope_theta": (1.0, 1e15), "norm_epsilon": (1e-20, 1.0)}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer.

    The defaults follow FLAN's model, LaMDA (arXiv 2201.08239, section 3): T5 relative
    attention bias, gated GELU, RMSNorm, no biases. With `positions="rope"`,
    `activation="silu"`, `num_kv_heads` and `scale_attention=True` the same module is a
    Llama.

    Attributes:
      vocab_size: rows of the embedding; may exceed the vocabulary (padding for shards).
        0 until `for_vocabulary` sets it.
      num_layers, d_model, num_heads, d_head, d_ff: as in T5; `d_ff` is the width of each
        of the two gated halves.
      num_kv_heads: key/value heads (grouped-query attention); None: as many as heads.
      positions: `relative` (T5's bucketed bias, one table for all layers) or `rope`.
      activation: of the gate.
      tie_embeddings: logits through the embedding.
      scale_logits: tied logits are scaled by d_model^-0.5, as in T5.
      scale_embeddings: embeddings are scaled by d_model^0.5, as in Gemma.
      scale_attention: divide attention logits by sqrt(d_head). T5 folds the factor into
        the initialization of the query projection instead.
      relative_buckets, relative_max_distance: T5's bias table.
      rope_theta: base of the rotary frequencies.
      rope_scaling: by what they are divided, for long contexts; None leaves them.
      qkv_bias: a bias on the query, key and value projections, as in Qwen2.
      qk_norm: RMSNorm over each head's query and key before the rotation, as in Qwen3.
      context_length: tokens that an imported model was made for: evaluation cuts inputs to it.
      norm_epsilon: of RMSNorm.
      dropout_rate: on embeddings and on each residual branch.
      dtype: of computation (`float32` or `bfloat16`); softmax, norms and loss are float32.
      param_dtype: of stored parameters.
      remat: what the backward pass recomputes: `none`, `dots` (all but matrix products)
        or `full` (each layer).
      adapter: what is trained instead of the network itself; None where all of it is.
      attention: the kernel, by `flan.models.attention_kernels`; `auto` takes the backend's
        fastest that can do what is asked.
    """

    vocab_size: int
    num_layers: int
    d_model: int
    num_heads: int
    d_head: int
    d_ff: int
    num_kv_heads: int | None = None
    positions: Positions = "relative"
    activation: Literal["gelu", "silu"] = "gelu"
    tie_embeddings: bool = False
    scale_attention: bool = False
    relative_buckets: int = 32
    relative_max_distance: int = 128
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    scale_logits: bool = True
    scale_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    context_length: int | None = None
    norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    dtype: str = "float32"
    param_dtype: str = "float32"
    remat: Remat = "none"
    adapter: Adapter | None = None
    attention: Attention = "auto"

    def __post_init__(self) -> None:
        self._check_sizes()
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and least <= value <= most):
                raise ValueError(f"{name} must be from {least:g} to {most:g}, got {value!r}")
        if self.positions == "rope" and self.d_head % 2:
            raise ValueError(
                f"d_head {self.d_head} is odd: positions='rope' turns pairs of numbers"
            )
        for name, allowed in (
            ("positions", ("relative", "rope")),
            ("activation", ("gelu", "silu")),
            ("dtype", ("float32", "bfloat16")),
            ("param_dtype", ("float32", "bfloat16")),
            ("remat", ("none", "dots", "full")),
            ("attention", ("auto", "plain", "blocked", "cudnn", "splash")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")

    def _check_sizes(self) -> None:
        for name, most in _LARGEST.items():
            value, least = getattr(self, name), 0 if name == "vocab_size" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be {least} or more, got {value!r}")
            if value > most:
                raise ValueError(f"{name} {value:,} is beyond any model's: {most:,}")
        for name in ("num_kv_heads", "context_length"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1
            ):
                raise ValueError(f"{name} must be 1 or more, or None, got {value!r}")
        if self.num_heads % self.kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is no multiple of num_kv_heads {self.num_kv_heads}"
            )

    def for_vocabulary(self, size: int) -> ModelConfig:
        """The same config with room for `size` token ids.

        A `vocab_size` of 0 becomes `size` rounded up to a multiple of 128, which splits
        over any usual number of devices and fills matrix units; a smaller one than `size`
        is a ValueError.
        """
        if self.vocab_size == 0:
            return dataclasses.replace(self, vocab_size=-(-size // 128) * 128)
        if self.vocab_size < size:
            raise ValueError(
                f"the vocabulary has {size} tokens, the model's embedding only {self.vocab_size} "
                "rows; use the vocabulary that the model was trained with, or a larger "
                "ModelConfig.vocab_size (0 fits it to the vocabulary)"
            )
        return self

    @property
    def kv_heads(self) -> int:
        """Key/value heads."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def compute_dtype(self) -> Any:
        """`dtype` as a JAX dtype."""
        return jnp.dtype(self.dtype)

    @property
    def plain(self) -> ModelConfig:
        """The network without an adapter."""
        return dataclasses.replace(self, adapter=None)

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """Token ids of the soft prompt, which follow those of the embedding; none without one."""
        if not isinstance(self.adapter, SoftPrompt):
            return ()
        return tuple(range(self.vocab_size, self.vocab_size + self.adapter.length))

    @property
    def drops(self) -> bool:
        """Whether training draws random numbers for dropout."""
        of_lora = self.adapter.dropout_rate if isinstance(self.adapter, Lora) else 0.0
        return bool(self.dropout_rate or of_lora)

    def lora(self, name: str) -> Lora | None:
        """LoRA on the product of that name, where there is some."""
        found = self.adapter
        return found if isinstance(found, Lora) and name in found.targets else None

    @property
    def num_trained(self) -> int:
        """Exact count of the parameters that training changes."""
        if isinstance(self.adapter, SoftPrompt):
            return self.adapter.length * self.d_model
        if isinstance(self.adapter, Lora):
            query, key = self.num_heads * self.d_head, self.kv_heads * self.d_head
            sides = {"query": query, "key": key, "value": key, "out": query}
            ends = (self.d_model + sides.get(name, self.d_ff) for name in self.adapter.targets)
            return self.num_layers * self.adapter.rank * sum(ends)
        return self.num_parameters

    @property
    def num_parameters(self) -> int:
        """Exact count of all parameters, those of an adapter included."""
        if self.adapter is not None:
            return self.plain.num_parameters + self.num_trained
        attention = self.d_model * self.d_head * 2 * (self.num_heads + self.kv_heads)
        if self.qkv_bias:
            attention += self.d_head * (self.num_heads + 2 * self.kv_heads)
        if self.qk_norm:
            attention += 2 * self.d_head
        layer = attention + 3 * self.d_model * self.d_ff + 2 * self.d_model
        tables = self.vocab_size * self.d_model * (1 if self.tie_embeddings else 2)
        bias = self.relative_buckets * self.num_heads if self.positions == "relative" else 0
        return self.num_layers * layer + tables + bias + self.d_model

    def to_json(self) -> dict[str, Any]:
        """Plain values; `ModelConfig.from_json` reads them back."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        scaling = self.rope_scaling and dataclasses.asdict(self.rope_scaling)
        return {**fields, "adapter": adapter_to_json(self.adapter), "rope_scaling": scaling}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelConfig:
        """The config that `to_json` wrote; ValueError for unknown or missing entries."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := values.keys() - known:
            raise ValueError(f"model config has unknown entries {sorted(unknown)}")
        try:
            objects = {
                "adapter": adapter_from_json(values.get("adapter")),
                "rope_scaling": scaling_from_json(values.get("rope_scaling")),
            }
            return cls(**{**values, **objects})
        except TypeError as error:
            raise ValueError(f"model config is incomplete: {error}") from error
