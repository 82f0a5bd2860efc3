"""Qwen's tokenizer, which `transformers` makes itself for every Qwen2, whatever lies in the folder."""

from __future__ import annotations

import json
from typing import Any

from flan.checkpoints.foreign.gguf_tokenizer import CUTTINGS
from flan.data.hugging_face_vocabulary import HuggingFaceVocabulary

# Names of its class.
CLASSES = ("Qwen2Tokenizer", "Qwen2TokenizerFast")


def is_qwens(vocabulary: object, reads_start: bool) -> bool:
    """Whether a model's vocabulary gives the ids that Qwen's own rules give with its tokens and merges.

    These are: text in NFC, cut by Qwen's pattern, merged over bytes, no start token.
    """
    if reads_start or not isinstance(vocabulary, HuggingFaceVocabulary):
        return False
    stated = json.loads(vocabulary.content)
    cut = {
        "type": "Split",
        "pattern": {"Regex": CUTTINGS["qwen2"].pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    steps = stated.get("pre_tokenizer") or {}
    model = stated["model"]
    return (
        stated.get("normalizer") == {"type": "NFC"}
        and steps.get("type") == "Sequence"
        and [_cutting(step) for step in steps["pretokenizers"]] == [cut, byte_level]
        and model.get("type") == "BPE"
        and not any(model.get(switch) for switch in ("ignore_merges", "byte_fallback", "dropout"))
        and (stated.get("post_processor") or {}).get("type", "ByteLevel") == "ByteLevel"
    )


def _cutting(step: dict[str, Any]) -> dict[str, Any]:
    """A step without what only decides where in the text a token is said to lie."""
    return {key: value for key, value in step.items() if key != "trim_offsets"}
