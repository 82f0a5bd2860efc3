"""Where each of our parameters lies in other layouts, and how the numbers differ.

Ours are stacked over layers, theirs have a name for each layer. Kernels are [in, out] here
and [out, in] there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
import numpy as np

from flan.models.config import ModelConfig
from flan.training.state import init_params

OURS = {
    "embedding": "token_embedder/embedding",
    "attention_norm": "layers/pre_self_attention_layer_norm/scale",
    "query": "layers/self_attention/query/kernel",
    "query_bias": "layers/self_attention/query/bias",
    "query_norm": "layers/self_attention/query_norm/scale",
    "key": "layers/self_attention/key/kernel",
    "key_bias": "layers/self_attention/key/bias",
    "key_norm": "layers/self_attention/key_norm/scale",
    "value": "layers/self_attention/value/kernel",
    "value_bias": "layers/self_attention/value/bias",
    "out": "layers/self_attention/out/kernel",
    "mlp_norm": "layers/pre_mlp_layer_norm/scale",
    "gate": "layers/mlp/wi_0/kernel",
    "up": "layers/mlp/wi_1/kernel",
    "down": "layers/mlp/wo/kernel",
    "final_norm": "decoder_norm/scale",
    "head": "logits_dense/kernel",
}

HUGGING_FACE = {
    "embedding": "model.embed_tokens.weight",
    "attention_norm": "model.layers.{layer}.input_layernorm.weight",
    "query": "model.layers.{layer}.self_attn.q_proj.weight",
    "query_bias": "model.layers.{layer}.self_attn.q_proj.bias",
    "query_norm": "model.layers.{layer}.self_attn.q_norm.weight",
    "key": "model.layers.{layer}.self_attn.k_proj.weight",
    "key_bias": "model.layers.{layer}.self_attn.k_proj.bias",
    "key_norm": "model.layers.{layer}.self_attn.k_norm.weight",
    "value": "model.layers.{layer}.self_attn.v_proj.weight",
    "value_bias": "model.layers.{layer}.self_attn.v_proj.bias",
    "out": "model.layers.{layer}.self_attn.o_proj.weight",
    "mlp_norm": "model.layers.{layer}.post_attention_layernorm.weight",
    "gate": "model.layers.{layer}.mlp.gate_proj.weight",
    "up": "model.layers.{layer}.mlp.up_proj.weight",
    "down": "model.layers.{layer}.mlp.down_proj.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
}

GGUF = {
    "embedding": "token_embd.weight",
    "attention_norm": "blk.{layer}.attn_norm.weight",
    "query": "blk.{layer}.attn_q.weight",
    "query_bias": "blk.{layer}.attn_q.bias",
    "query_norm": "blk.{layer}.attn_q_norm.weight",
    "key": "blk.{layer}.attn_k.weight",
    "key_bias": "blk.{layer}.attn_k.bias",
    "key_norm": "blk.{layer}.attn_k_norm.weight",
    "value": "blk.{layer}.attn_v.weight",
    "value_bias": "blk.{layer}.attn_v.bias",
    "out": "blk.{layer}.attn_output.weight",
    "mlp_norm": "blk.{layer}.ffn_norm.weight",
    "gate": "blk.{layer}.ffn_gate.weight",
    "up": "blk.{layer}.ffn_up.weight",
    "down": "blk.{layer}.ffn_down.weight",
    "final_norm": "output_norm.weight",
    "head": "output.weight",
}


@dataclasses.dataclass(frozen=True)
class Change:
    """How a tensor's numbers lie elsewhere.

    Attributes:
      transpose: axes are swapped.
      pairs_of: rows belong to so many heads, and each head's rotary halves, which we keep
        one after the other, are interleaved (what llama.cpp makes of a Llama).
      offset: theirs is ours less this (Gemma stores norms without their 1).
    """

    transpose: bool = False
    pairs_of: int = 0
    offset: float = 0.0

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Their shape of one layer's tensor."""
        return ours[::-1] if self.transpose else ours

    def to_ours(self, x: np.ndarray) -> np.ndarray:
        """Their numbers as ours."""
        if self.pairs_of:
            halves = x.reshape(self.pairs_of, -1, 2, *x.shape[1:]).swapaxes(1, 2)
            x = halves.reshape(x.shape)
        if self.offset:
            x = x.astype(np.float32) + np.float32(self.offset)
        return x.T if self.transpose else x

    def to_theirs(self, x: np.ndarray) -> np.ndarray:
        """Our numbers as theirs; only what is written has an inverse here."""
        assert not self.pairs_of
        if self.offset:
            x = x.astype(np.float32) - np.float32(self.offset)
        return x.T if self.transpose else x


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One of our parameters and its parts elsewhere.

    Attributes:
      path: its place in our tree, keys joined by "/".
      shape: ours, stacked over layers where `stacked`.
      stacked: whether axis 0 counts layers.
      parts: their names, one for each layer, or one.
      change: how each part differs.
    """

    path: str
    shape: tuple[int, ...]
    stacked: bool
    parts: tuple[str, ...]
    change: Change

    @property
    def part_shape(self) -> tuple[int, ...]:
        """Their shape of each part."""
        return self.change.shape(self.shape[1:] if self.stacked else self.shape)


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Path -> shape of every parameter of a network; nothing is allocated."""
    return dict(_shapes(config))


@functools.lru_cache(maxsize=64)
def _shapes(config: ModelConfig) -> tuple[tuple[str, tuple[int, ...]], ...]:
    tree = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    return tuple(
        ("/".join(str(entry.key) for entry in path), leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    )


def parameters(
    config: ModelConfig,
    names: Mapping[str, str],
    *,
    interleaved: bool = False,
    norm_offset: float = 0.0,
) -> list[Parameter]:
    """All parameters of a network with their parts in another layout.

    Args:
      config: the network; it must have no parameter that the layout has no name for.
      names: `HUGGING_FACE` or `GGUF`.
      interleaved: queries and keys have interleaved rotary halves.
      norm_offset: what the layout leaves out of each norm's scale.
    """
    slots = {path: slot for slot, path in OURS.items()}
    found = []
    for path, shape in parameter_shapes(config).items():
        slot = slots[path]
        stacked = path.startswith("layers/")
        layers = range(shape[0]) if stacked else range(1)
        heads = {"query": config.num_heads, "key": config.kv_heads}.get(slot, 0)
        change = Change(
            transpose=path.endswith("/kernel"),
            pairs_of=heads if interleaved else 0,
            offset=norm_offset if path.endswith("/scale") else 0.0,
        )
        parts = tuple(names[slot].format(layer=layer) for layer in layers)
        found.append(Parameter(path, shape, stacked, parts, change))
    return found
