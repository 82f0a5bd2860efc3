"""The network that a GGUF file's metadata describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from flan.checkpoints.foreign.gguf_file import GgufFile
from flan.models.config import ModelConfig
from flan.models.rope_scaling import RopeScaling
from flan.suggest import unknown_name

DIVISORS = "rope_freqs.weight"  # of the rotary frequencies; no parameter


@dataclasses.dataclass(frozen=True)
class Architecture:
    """How llama.cpp writes a family of models.

    Attributes:
      switches: `ModelConfig` entries beside the sizes.
      interleaved: queries and keys have their rotary halves interleaved.
    """

    switches: Mapping[str, Any]
    interleaved: bool = False


ARCHITECTURES = {
    "llama": Architecture({}, interleaved=True),  # also Mistral, SmolLM
    "qwen2": Architecture({"qkv_bias": True}),
    "qwen3": Architecture({"qk_norm": True}),
    # Its norms are written with their 1 added.
    "gemma": Architecture({"activation": "gelu", "scale_embeddings": True}),
}


def read_config(file: GgufFile) -> tuple[str, ModelConfig]:
    """Architecture and network of a file.

    Raises ValueError where an entry is missing or no number, or where the model needs what
    the network here does not have; names it.
    """
    data = file.metadata
    name = data.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(f"{file.path}: {unknown_name('architecture', str(name), ARCHITECTURES)}")

    def number(key: str, default: Any = None, kind: Any = int) -> Any:
        value = data.get(f"{name}.{key}", default)
        if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
            raise ValueError(f"{file.path}: {name}.{key} should be above 0, it is {value!r}")
        return value

    heads = number("attention.head_count")
    kv_heads = number("attention.head_count_kv", heads)
    width = number("embedding_length")
    head = number("attention.key_length", width // heads)
    _refuse(file, name, head)
    embedding = file.infos.get("token_embd.weight")
    if embedding is None:
        raise ValueError(f"{file.path}: tensor 'token_embd.weight' is missing")
    theta = _shortest(number("rope.freq_base", 10_000.0, float))
    sizes: dict[str, Any] = dict(
        vocab_size=embedding.shape[0],
        num_layers=number("block_count"),
        d_model=width,
        num_heads=heads,
        d_head=head,
        d_ff=number("feed_forward_length"),
        num_kv_heads=None if kv_heads == heads else kv_heads,
        positions="rope",
        tie_embeddings="output.weight" not in file.infos,
        scale_attention=True,
        scale_logits=False,
        rope_theta=theta,
        rope_scaling=_scaling(file, name, head, theta),
        norm_epsilon=_shortest(number("attention.layer_norm_rms_epsilon", None, float)),
        context_length=number("context_length"),
        **{"activation": "silu", **ARCHITECTURES[name].switches},
    )
    try:
        return name, ModelConfig(**sizes)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error


def _refuse(file: GgufFile, name: str, head: int) -> None:
    """ValueError naming what the model has and the network here has not."""
    data = file.metadata
    unable = []
    if data.get(f"{name}.expert_count"):
        unable.append("experts")
    scaling = data.get(f"{name}.rope.scaling.type", "linear")
    if not isinstance(scaling, str) or scaling not in ("none", "linear"):
        unable.append(f"rotary frequencies scaled by {scaling!r}")
    if data.get(f"{name}.rope.dimension_count", head) != head:
        unable.append("a rotation of part of each head")
    if data.get(f"{name}.attention.value_length", head) != head:
        unable.append("values of another size than keys")
    if unable:
        raise ValueError(
            f"{file.path}: this model has {' and '.join(unable)}, which the network here does not"
        )


def _scaling(file: GgufFile, name: str, head: int, theta: float) -> RopeScaling | None:
    """What divides the rotary frequencies: one number for all, or a tensor of them.

    As in llama.cpp, a factor counts unless the kind of scaling is said to be "none".
    """
    data = file.metadata
    found = _llama_scaling(file, head, theta)
    factor = data.get(f"{name}.rope.scaling.factor", data.get(f"{name}.rope.scale_linear", 0.0))
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor >= 0:
        raise ValueError(
            f"{file.path}: {name}.rope.scaling.factor should be above 0, is {factor!r}"
        )
    if data.get(f"{name}.rope.scaling.type") == "none" or factor in (0, 1):
        return found
    if found is not None:
        raise ValueError(
            f"{file.path}: rotary frequencies are divided by {factor:g} and by {DIVISORS}, the "
            "network here has one of the two"
        )
    return RopeScaling("linear", _shortest(factor))


def _llama_scaling(file: GgufFile, head: int, theta: float) -> RopeScaling | None:
    """The scaling that a tensor of divisors describes; None without one."""
    if DIVISORS not in file.infos:
        return None
    if file.infos[DIVISORS].shape != (head // 2,):
        raise ValueError(
            f"{file.path}: {DIVISORS} has shape {list(file.infos[DIVISORS].shape)}, expected "
            f"[{head // 2}]"
        )
    divisors = np.asarray(file.read(DIVISORS), np.float32)
    # The file keeps what Llama's rule gave, not its numbers: all of Meta's models have the
    # same ones, but for the factor.
    slowest = float(divisors.max())
    scaling = RopeScaling("llama3", slowest if np.isfinite(slowest) and slowest > 0 else 1.0)
    if not np.allclose(scaling.divisors(head, theta), divisors, rtol=1e-4):
        raise ValueError(
            f"{file.path}: {DIVISORS} scales rotary frequencies otherwise than Llama 3.1, which "
            "the network here does not"
        )
    return scaling


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
