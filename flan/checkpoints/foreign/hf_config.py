"""Hugging Face's `config.json` of Llama and its kin, read into a ModelConfig and written from one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan.models.config import ModelConfig
from flan.models.rope_scaling import RopeScaling
from flan.suggest import unknown_name


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model that `transformers` knows.

    Attributes:
      architecture: its class there.
      switches: `ModelConfig` entries beside the sizes.
      norm_offset: what its norms leave out of our scale.
      tied: what `tie_word_embeddings` is where the file does not say.
      slides: whether `sliding_window` counts without `use_sliding_window`.
    """

    architecture: str
    switches: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    norm_offset: float = 0.0
    tied: bool = False
    slides: bool = False


FAMILIES = {
    "llama": Family("LlamaForCausalLM"),
    "mistral": Family("MistralForCausalLM", slides=True),
    "qwen2": Family("Qwen2ForCausalLM", {"qkv_bias": True}),
    "qwen3": Family("Qwen3ForCausalLM", {"qk_norm": True}),
    "gemma": Family("GemmaForCausalLM", {"scale_embeddings": True}, norm_offset=1.0, tied=True),
}
# Kind of `RopeScaling` -> transformers' names of its numbers.
_SCALING = {
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "low_freq_factor": "low_frequency_factor",
        "high_freq_factor": "high_frequency_factor",
        "original_max_position_embeddings": "original_context",
    },
}
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
    if kind not in FAMILIES:
        raise ValueError(unknown_name("model_type", str(kind), FAMILIES))
    family = FAMILIES[kind]
    activation = values.get("hidden_activation") or values.get("hidden_act", "silu")
    if kind == "gemma":
        # Its first files say "gelu" and mean the tanh form, which is what was trained.
        activation = "gelu_pytorch_tanh" if activation == "gelu" else activation
    _refuse(values, kind, activation)

    def size(name: str, default: Any = None) -> int:
        value = values.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} should be a whole number above 0, it is {value!r}")
        return value

    def real(name: str, default: float, among: Mapping[str, Any] = values) -> float:
        value = among.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ValueError(f"{name} should be a number above 0, it is {value!r}")
        return float(value)

    heads, width = size("num_attention_heads"), size("hidden_size")
    kv_heads = size("num_key_value_heads", heads)
    context = size("max_position_embeddings", 2048)
    window = values.get("sliding_window")
    if window is not None and (family.slides or values.get("use_sliding_window")):
        # Up to the window's length nothing slides, and that far the network here is the same.
        context = min(context, size("sliding_window"))
    rope = _rope(values)
    theta = real("rope_theta", 10_000.0, {**rope, **values})
    return family, ModelConfig(
        vocab_size=size("vocab_size"),
        num_layers=size("num_hidden_layers"),
        d_model=width,
        num_heads=heads,
        d_head=size("head_dim", width // heads),
        d_ff=size("intermediate_size"),
        num_kv_heads=None if kv_heads == heads else kv_heads,
        positions="rope",
        activation=_ACTIVATIONS[activation],  # type: ignore[arg-type]
        tie_embeddings=bool(values.get("tie_word_embeddings", family.tied)),
        scale_attention=True,
        scale_logits=False,
        rope_theta=theta,
        rope_scaling=_scaling(rope),
        norm_epsilon=real("rms_norm_eps", 1e-6),
        context_length=context,
        **family.switches,
    )


def write_config(config: ModelConfig) -> tuple[Family, dict[str, Any]]:
    """Family and `config.json` for a network, without token ids and dtype.

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
        "attention_bias": False,
        "use_cache": True,
    }
    if config.rope_scaling is not None:
        values["rope_scaling"] = _scaling_values(config.rope_scaling)
    if kind == "gemma":
        values["hidden_activation"] = values["hidden_act"]
    return family, values


def _rope(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of its rotary embedding: older ones `rope_scaling`, newer `rope_parameters`."""
    found = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(found, dict):
        raise ValueError(f"rope_parameters should be an object, it is {found!r}")
    return found


def _scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = _scaling_kind(rope)
    if kind == "default":
        return None
    entries = _SCALING[kind]
    if missing := [theirs for theirs in entries if theirs not in rope]:
        raise ValueError(f"rope_scaling of {kind!r} should have {', '.join(missing)}")
    return RopeScaling(kind=kind, **{ours: rope[theirs] for theirs, ours in entries.items()})


def _scaling_kind(rope: Mapping[str, Any]) -> Any:
    return rope.get("rope_type", rope.get("type", "default"))


def _scaling_values(scaling: RopeScaling) -> dict[str, Any]:
    entries = _SCALING[scaling.kind].items()
    numbers = {theirs: getattr(scaling, ours) for theirs, ours in entries}
    return {"rope_type": scaling.kind, **numbers}


def _refuse(values: Mapping[str, Any], kind: str, activation: Any) -> None:
    rope = _rope(values)
    unable = []
    scaling = _scaling_kind(rope)
    if scaling not in ("default", *_SCALING):
        unable.append(f"rotary frequencies scaled by {scaling!r}")
    if rope.get("partial_rotary_factor", values.get("partial_rotary_factor", 1.0)) != 1.0:
        unable.append("a rotation of part of each head")
    if activation not in _ACTIVATIONS:
        unable.append(f"activation {activation!r}")
    if values.get("attention_bias") and kind != "qwen2":
        unable.append("biases on all attention projections")
    if values.get("mlp_bias"):
        unable.append("biases in its MLP")
    if "quantization_config" in values:
        unable.append("quantized weights")
    if unable:
        raise ValueError(f"this model has {', '.join(unable)}, which the network here does not")
