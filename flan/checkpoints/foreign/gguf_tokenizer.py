"""Builds the tokenizer that a GGUF file carries as lists of tokens, merges and scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from flan.checkpoints.foreign.gguf_file import GgufFile
from flan.checkpoints.foreign.piece_tokenizer import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    defined_piece,
    piece_tokenizer,
)
from flan.suggest import unknown_name

# How text is cut before merging, as the models' own tokenizer files say.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


@dataclasses.dataclass(frozen=True)
class Cutting:
    """What llama.cpp's pre-tokenizer names stand for.

    Attributes:
      pattern: cuts before the byte level; None: the byte level cuts by GPT-2's own.
      digits: each digit is cut off first.
      whole: a piece that is a token is not merged up to it.
      compose: text is brought into NFC.
      adds_start: a start token comes first where the file does not say.
    """

    pattern: str | None = None
    digits: bool = False
    whole: bool = False
    compose: bool = False
    adds_start: bool = False


CUTTINGS = {
    "gpt-2": Cutting(),
    "default": Cutting(),
    "smollm": Cutting(digits=True),
    "llama-bpe": Cutting(_LLAMA3, whole=True, adds_start=True),
    "qwen2": Cutting(_QWEN2, compose=True),
}


@dataclasses.dataclass(frozen=True)
class FoundTokenizer:
    """A tokenizer and what is known of it.

    Attributes:
      content: `tokenizer.json`.
      ids: token ids by kind: `eos`, `bos`, `unk` where there are such.
      reads_start: whether the model expects `bos` before a text.
      config: for `tokenizer_config.json`.
    """

    content: str
    ids: Mapping[str, int]
    reads_start: bool
    config: Mapping[str, Any]


def read_tokenizer(file: GgufFile) -> FoundTokenizer:
    """The file's tokenizer; ValueError where there is none, or one of an unknown kind."""
    try:
        return _read(file)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error


def _read(file: GgufFile) -> FoundTokenizer:
    data = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in file.metadata.items()
        if key.startswith("tokenizer.ggml.")
    }
    architecture = file.metadata.get("general.architecture")
    tokens = _strings(data, "tokens")
    if len(set(tokens)) != len(tokens):
        raise ValueError("tokenizer.ggml.tokens holds a token twice")
    stated = _numbers(data, "token_type", len(tokens), np.ones(len(tokens)))
    ids = _special_ids(data, tokens)
    # Whatever the file calls them: an end of text that a text spells out is no end. (The
    # unknown token of byte-level tokenizers may be any.)
    special = {ids["eos"], ids.get("bos")}
    types = [
        CONTROL if i in special and kind != UNKNOWN else int(kind) for i, kind in enumerate(stated)
    ]
    kind, space_first = data.get("model"), False
    if kind == "gpt2":
        cut = _cutting(data.get("pre"), architecture)
        tokenizer = _byte_level(tokens, _strings(data, "merges"), cut)
        adds_start = cut.adds_start
    elif kind == "llama":
        scores = _numbers(data, "scores", len(tokens), ())
        space_first = bool(data.get("add_space_prefix", True))
        tokenizer = piece_tokenizer(tokens, scores, types, space_first=space_first)
        adds_start = True
    else:
        raise ValueError(unknown_name("tokenizer model", str(kind), ("gpt2", "llama")))
    _add(tokenizer, tokens, types, space_first, kind == "llama")
    reads_start = "bos" in ids and bool(data.get("add_bos_token", adds_start))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": reads_start,
        **{f"{short}_token": tokens[i] for short, i in ids.items()},
    }
    template = file.metadata.get("tokenizer.chat_template")
    if isinstance(template, str):
        config["chat_template"] = template
    return FoundTokenizer(tokenizer.to_str(), ids, reads_start, config)


def _special_ids(data: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, int]:
    """Ids of `eos`, `bos`, `unk`, where the file names them; ValueError without an EOS."""
    ids = {}
    for short, key in (("eos", "eos"), ("bos", "bos"), ("unk", "unknown")):
        value = data.get(f"{key}_token_id")
        if value is not None:
            if not isinstance(value, int) or not 0 <= value < len(tokens):
                raise ValueError(f"{key}_token_id {value!r} is none of the {len(tokens):,} tokens")
            ids[short] = value
    if "eos" not in ids:
        raise ValueError("the file names no EOS token (tokenizer.ggml.eos_token_id)")
    return ids


def _numbers(data: Mapping[str, Any], key: str, count: int, default: Any) -> list[float]:
    found = np.asarray(data.get(key, default))
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.number):
        raise ValueError(
            f"tokenizer.ggml.{key} should be a list of {count:,} numbers, one a token; it has shape "
            f"{list(found.shape)} and type {found.dtype}"
        )
    return found.tolist()


def _strings(data: Mapping[str, Any], key: str) -> list[str]:
    value = data.get(key)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"tokenizer.ggml.{key} should be a list of strings; there is no tokenizer")
    return value


def _byte_level(tokens: Sequence[str], merges: Sequence[str], cut: Cutting) -> tokenizers.Tokenizer:
    """A GPT-2-style tokenizer: BPE over bytes that are written as visible characters."""
    pairs: list[tuple[str, str]] = []
    for merge in merges:
        left, space, right = merge.partition(" ")
        if not space or " " in right:
            raise ValueError(f"merge {merge!r} is no pair")
        pairs.append((left, right))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    try:
        model = models.BPE(vocabulary, pairs, ignore_merges=cut.whole)
    except Exception as error:  # the package raises bare Exception
        raise ValueError(f"the merges do not belong to the tokens: {error}") from error
    tokenizer = tokenizers.Tokenizer(model)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut.pattern is None)
    steps: list[Any] = [byte_level]
    if cut.pattern:
        steps.insert(0, pre_tokenizers.Split(Regex(cut.pattern), "isolated"))
    if cut.digits:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    if cut.compose:
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _cutting(stated: Any, architecture: Any) -> Cutting:
    """By the pre-tokenizer's name; files older than that name go by their model's family."""
    if stated is None:
        stated = "qwen2" if str(architecture).startswith("qwen") else "default"
    if not isinstance(stated, str) or stated not in CUTTINGS:
        raise ValueError(unknown_name("pre-tokenizer", str(stated), CUTTINGS))
    return CUTTINGS[stated]


def _add(
    tokenizer: tokenizers.Tokenizer,
    tokens: Sequence[str],
    types: Sequence[int],
    space_first: bool,
    marked: bool,
) -> None:
    """Adds special and user-defined tokens; `marked` says that spaces are written as marks."""
    special = [t for t, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    defined = [t for t, kind in zip(tokens, types, strict=True) if kind == USER_DEFINED]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.add_tokens(
        [
            defined_piece(t, space_first) if marked else AddedToken(t, normalized=False)
            for t in defined
        ]
    )
    found = json.loads(tokenizer.to_str())["added_tokens"]
    if any(tokens[t["id"]] != t["content"] for t in found if t["id"] < len(tokens)):
        raise ValueError("a special token is not where the list of tokens says")
