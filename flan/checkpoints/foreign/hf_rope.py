"""What a Hugging Face config says of its rotary embedding, and how ours is written there.

Older files have `rope_theta` and `rope_scaling`, newer ones `rope_parameters` with both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flan.models.rope_scaling import RopeScaling

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
_ORIGINAL = "original_max_position_embeddings"


def rope_entries(values: Mapping[str, Any]) -> dict[str, Any]:
    """All that a `config.json` says of it, in one place; entries that are null are left out.

    `transformers` lets what is nested win over what is not, but for the length of
    pretraining. Of two nested objects it takes one whole: they must not say different things.
    """
    found: dict[str, Any] = {}
    for name in ("rope_parameters", "rope_scaling"):
        stated = values.get(name)
        if stated is not None and not isinstance(stated, dict):
            raise ValueError(f"{name} should be an object, it is {stated!r}")
        own = {key: value for key, value in (stated or {}).items() if value is not None}
        if nested := sorted(key for key, value in own.items() if isinstance(value, dict)):
            raise ValueError(
                f"{name} has entries for kinds of layers ({', '.join(nested)}), the network here "
                "has one kind of layer"
            )
        older = own.pop("type", "default")
        if own or older != "default":
            own.setdefault("rope_type", older)
        for key in sorted(own.keys() & found.keys()):
            if own[key] != found[key]:
                raise ValueError(
                    f"rope_parameters has {key} {found[key]!r}, rope_scaling {own[key]!r}: take out "
                    "the one that the model was not trained with"
                )
        found |= own
    outside = ("rope_theta", "partial_rotary_factor")
    found = {k: values[k] for k in outside if values.get(k) is not None} | found
    if values.get(_ORIGINAL) is not None:
        found[_ORIGINAL] = values[_ORIGINAL]
    return found


def unable(rope: Mapping[str, Any]) -> list[str]:
    """What the entries ask for and the network here does not have."""
    found = []
    if _kind(rope) not in ("default", *_SCALING):
        found.append(f"rotary frequencies scaled by {_kind(rope)!r}")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        found.append("a rotation of part of each head")
    return found


def read_scaling(rope: Mapping[str, Any], context: int) -> RopeScaling | None:
    """The scaling of the entries, of a model for `context` tokens; ValueError where one lacks."""
    kind = _kind(rope)
    if kind == "default":
        return None
    entries = _SCALING[kind]
    rope = {_ORIGINAL: context, **rope}
    if missing := [theirs for theirs in entries if theirs not in rope]:
        raise ValueError(f"rope_scaling of {kind!r} should have {', '.join(missing)}")
    return RopeScaling(kind=kind, **{ours: rope[theirs] for theirs, ours in entries.items()})


def scaling_values(scaling: RopeScaling) -> dict[str, Any]:
    """`rope_scaling` of a config."""
    entries = _SCALING[scaling.kind].items()
    numbers = {theirs: getattr(scaling, ours) for theirs, ours in entries}
    return {"rope_type": scaling.kind, **numbers}


def _kind(rope: Mapping[str, Any]) -> Any:
    kind = rope.get("rope_type", "default")
    return kind if isinstance(kind, str) else str(kind)
