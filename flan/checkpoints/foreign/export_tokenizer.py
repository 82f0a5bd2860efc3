"""Writes a vocabulary of ours as the tokenizer files that Hugging Face programs load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import tokenizers
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from tokenizers import AddedToken, processors

from flan.checkpoints.foreign.hf_model import TOKENIZER_CONFIGS
from flan.checkpoints.foreign.our_model import OurModel
from flan.checkpoints.foreign.piece_tokenizer import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    defined_piece,
    piece_tokenizer,
)
from flan.checkpoints.foreign.qwen_tokenizer import CLASSES, is_qwens
from flan.data import atomic
from flan.data.hugging_face_vocabulary import TOKENIZER_FILE
from flan.data.sentencepiece_vocabulary import SentencePieceVocabulary

# The training format: what is read ends with EOS, then the answer begins.
_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] + eos_token }}{% endfor %}"


def write_tokenizer(model: OurModel, folder: Path) -> dict[str, int]:
    """Writes `tokenizer.json` and `tokenizer_config.json`; returns the ids for `config.json`.

    Raises ValueError for a SentencePiece model that the `tokenizers` package cannot follow.
    """
    vocabulary = model.vocabulary
    config: dict[str, Any] = {}
    if isinstance(vocabulary, SentencePieceVocabulary):
        tokenizer = sentencepiece_tokenizer(vocabulary)
        config["chat_template"] = _CHAT_TEMPLATE
        pad = vocabulary.pad_id
    else:
        for name in TOKENIZER_CONFIGS:
            if (model.vocabulary_dir / name).is_file():
                shutil.copyfile(model.vocabulary_dir / name, folder / name)
        if (folder / TOKENIZER_CONFIGS[0]).is_file():
            config = json.loads((folder / TOKENIZER_CONFIGS[0]).read_text(encoding="utf-8"))
        tokenizer = tokenizers.Tokenizer.from_str(vocabulary.content)
        named = config.get("pad_token")
        named = named.get("content") if isinstance(named, dict) else named
        found = tokenizer.token_to_id(named) if isinstance(named, str) else None
        pad = vocabulary.eos_id if found is None else found

    ids = {
        "eos_token_id": vocabulary.eos_id,
        "bos_token_id": vocabulary.bos_id,
        "pad_token_id": pad,
    }
    content = _with_start(tokenizer, vocabulary, model.reads_start)
    atomic.write_file(folder / TOKENIZER_FILE, content.encode())
    for key, token in ids.items():
        config.setdefault(key.removesuffix("_id"), tokenizer.id_to_token(token))
    config.setdefault("unk_token", tokenizer.id_to_token(vocabulary.unk_id))
    config["add_bos_token"] = model.reads_start
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    if config["tokenizer_class"] in CLASSES and not is_qwens(vocabulary, model.reads_start):
        config["tokenizer_class"] = "PreTrainedTokenizerFast"  # reads the file
    if model.config.context_length:
        config.setdefault("model_max_length", model.config.context_length)
    atomic.write_json(folder / TOKENIZER_CONFIGS[0], config)
    return ids


def sentencepiece_tokenizer(vocabulary: SentencePieceVocabulary) -> tokenizers.Tokenizer:
    """The same ids for a text, but for the space mark itself ("▁"), which it takes for a space."""
    message: Any = model_pb2  # its classes are made at run time
    proto = message.ModelProto.FromString(vocabulary.model)
    normalizer, trainer = proto.normalizer_spec, proto.trainer_spec
    if trainer.model_type != trainer.BPE:
        raise ValueError("only SentencePiece models of the BPE kind can be exported")
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces:
        raise ValueError("a SentencePiece model that normalizes text cannot be exported")
    pieces = [p.piece for p in proto.pieces]
    types = [p.type for p in proto.pieces]
    tokenizer = piece_tokenizer(
        pieces, [p.score for p in proto.pieces], types, space_first=normalizer.add_dummy_prefix
    )
    special = {CONTROL, UNKNOWN}
    for piece, kind in zip(pieces, types, strict=True):
        if kind in special:
            tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False)])
        elif kind == USER_DEFINED and len(piece) > 1:
            # A text is cut there, and `tokenizers` puts a space before each part. Single
            # characters, our line ends and tabs among them, need no cut: nothing merges with them.
            if normalizer.add_dummy_prefix:
                raise ValueError(f"the user-defined piece {piece!r} cannot be exported")
            tokenizer.add_tokens([defined_piece(piece, space_first=False)])
    return tokenizer


def _with_start(tokenizer: tokenizers.Tokenizer, vocabulary: Any, reads_start: bool) -> str:
    """The tokenizer's JSON, whose texts begin with the start token where the model reads one."""
    start = tokenizer.id_to_token(vocabulary.bos_id)
    first = tokenizer.encode("a", add_special_tokens=True).ids[:1]
    plain = tokenizer.encode("a", add_special_tokens=False).ids[:1]
    if reads_start == (first == [vocabulary.bos_id] and first != plain):
        content = getattr(vocabulary, "content", None)
        return content if content is not None else tokenizer.to_str()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0" if reads_start else "$A:0",
        pair=f"{start}:0 $A:0 $B:1" if reads_start else "$A:0 $B:1",
        special_tokens=[(start, vocabulary.bos_id)],
    )
    return tokenizer.to_str()
