"""Hugging Face's `config.json` of Llama and its kin, read into a ModelConfig and written from one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from flan.checkpoints.foreign.hf_rope import read_scaling, rope_entries, scaling_values, unable
from flan.models.config import ModelConfig
from flan.suggest import unknown_name


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model that `transformers` knows.

    Attributes:
      architecture: its class there.
      switches: `ModelConfig` entries beside the sizes.
      norm_offset: what its norms leave out of our scale.
      tied: what `tie_word_embeddings` is where the file does not say; so the next ones:
      activation: `hidden_act`.
      head: `head_dim`; None: the width's share.
      context: `max_position_embeddings`.
      slides: whether `sliding_window` counts without `use_sliding_window`.
    """

    architecture: str
    switches: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    norm_offset: float = 0.0
    tied: bool = False
    activation: str = "silu"
    head: int | None = None
    context: int = 2048
    slides: bool = False


FAMILIES = {
    "llama": Family("LlamaForCausalLM"),
    "mistral": Family("MistralForCausalLM", context=131_072, slides=True),
    "qwen2": Family("Qwen2ForCausalLM", {"qkv_bias": True}, context=32_768),
    "qwen3": Family("Qwen3ForCausalLM", {"qk_norm": True}, head=128, context=32_768),
    "gemma": Family(
        "GemmaForCausalLM",
        {"scale_embeddings": True},
        norm_offset=1.0,
        tied=True,
        activation="gelu_pytorch_tanh",
        head=256,
        context=8192,
    ),
}
_WINDOW = 4096  # transformers' `sliding_window` where the file does not say
# transformers' names of our two gates; its plain "gelu" is the exact one, which is another.
_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
}


def read_config(values: Mapping[str, Any]) -> tuple[Family, ModelConfig]:
    """Family and network of a `config.json`.

    Raises ValueError for an unknown kind of model, a missing or impossible size, and what
    the network here does not have, naming it.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ValueError(unknown_name("model_type", str(kind), FAMILIES))
    family = FAMILIES[kind]
    rope = rope_entries(values)
    activation = _activation(values, kind)
    _refuse(values, kind, activation, rope)

    def size(name: str, default: Any = None) -> int:
        value = values.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} should be a whole number above 0, it is {value!r}")
        return value

    def real(name: str, default: float, among: Mapping[str, Any] = values) -> float:
        value = among.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name} should be a number above 0, it is {value!r}")
        return float(value) if value < 1e300 else math.inf  # which the network refuses

    heads, width = size("num_attention_heads"), size("hidden_size")
    kv_heads = size("num_key_value_heads", heads)
    context = trained = size("max_position_embeddings", family.context)
    # A window that is null is none; one that is not there is the default.
    window = values.get("sliding_window", _WINDOW)
    if window is not None and (family.slides or values.get("use_sliding_window")):
        # Up to the window's length nothing slides, and that far the network here is the same.
        context = min(context, size("sliding_window", _WINDOW))
    # A Llama may have what Qwen2 has, under a switch.
    biased = kind == "llama" and bool(values.get("attention_bias"))
    return family, ModelConfig(
        vocab_size=size("vocab_size"),
        num_layers=size("num_hidden_layers"),
        d_model=width,
        num_heads=heads,
        d_head=size("head_dim", family.head or width // heads),
        d_ff=size("intermediate_size"),
        num_kv_heads=None if kv_heads == heads else kv_heads,
        positions="rope",
        activation=_ACTIVATIONS[activation],  # type: ignore[arg-type]
        tie_embeddings=bool(values.get("tie_word_embeddings", family.tied)),
        scale_attention=True,
        scale_logits=False,
        rope_theta=real("rope_theta", 10_000.0, rope),
        rope_scaling=read_scaling(rope, trained),
        norm_epsilon=real("rms_norm_eps", 1e-6),
        context_length=context,
        **{**family.switches, **({"qkv_bias": True} if biased else {})},
    )


def write_config(
    config: ModelConfig, *, qwen_tokenizer: bool = True
) -> tuple[Family, dict[str, Any]]:
    """Family and `config.json` for a network, without token ids and dtype.

    `transformers` reads the tokenizer of any Qwen2 as Qwen's own. A network with another one
    (`qwen_tokenizer` is false) becomes a Llama whose `attention_bias` is true, which also
    has a bias after attention: `out_biases` names these, they are zeros.

    T5's factors (`scale_logits`, no `scale_attention`) are left to whoever writes the weights.
    Raises ValueError where `transformers` has no such network, naming what stands against it.
    """
    against = []
    if config.positions != "rope":
        against.append("T5's relative attention bias (positions='relative')")
    switches = {
        name: True for name in ("qkv_bias", "qk_norm", "scale_embeddings") if getattr(config, name)
    }
    kind = next((k for k, f in FAMILIES.items() if dict(f.switches) == switches), None)
    if kind is None:
        against.append(f"{' with '.join(switches)} in one network")
    if kind == "gemma" and (config.activation != "gelu" or not config.tie_embeddings):
        against.append("scaled embeddings without Gemma's GELU and tied logits")
    if against or kind is None:
        raise ValueError(
            f"this network has no counterpart in transformers: it has {', '.join(against)}"
        )
    if kind == "qwen2" and not qwen_tokenizer:
        kind = "llama"
    family = FAMILIES[kind]
    values: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.d_head,
        "hidden_act": "gelu_pytorch_tanh" if config.activation == "gelu" else "silu",
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.context_length or 2048,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": kind == "llama" and config.qkv_bias,
        "use_cache": True,
    }
    if config.rope_scaling is not None:
        values["rope_scaling"] = scaling_values(config.rope_scaling)
    if kind == "gemma":
        values["hidden_activation"] = values["hidden_act"]
    return family, values


def out_biases(config: ModelConfig, values: Mapping[str, Any]) -> list[str]:
    """Tensors of a `config.json`'s model that the network has no place for unless they are zeros."""
    if values["model_type"] != "llama" or not config.qkv_bias:
        return []
    return [f"model.layers.{i}.self_attn.o_proj.bias" for i in range(config.num_layers)]


def _activation(values: Mapping[str, Any], kind: str) -> Any:
    stated = values.get("hidden_act")
    if kind == "gemma":
        stated = values.get("hidden_activation") or stated
        # Its first files say "gelu" and mean the tanh form, which is what was trained.
        stated = "gelu_pytorch_tanh" if stated == "gelu" else stated
    return FAMILIES[kind].activation if stated is None else stated


def _refuse(values: Mapping[str, Any], kind: str, activation: Any, rope: Mapping[str, Any]) -> None:
    against = unable(rope)
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        against.append(f"activation {activation!r}")
    if values.get("attention_bias") and kind not in ("llama", "qwen2"):
        against.append("biases on all attention projections")
    if values.get("mlp_bias"):
        against.append("biases in its MLP")
    if values.get("use_bidirectional_attention"):
        against.append("attention to later tokens")
    if values.get("quantization_config") is not None:
        against.append("quantized weights")
    if against:
        raise ValueError(f"this model has {', '.join(against)}, which the network here does not")
