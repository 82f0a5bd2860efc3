"""A Hugging Face folder (config, safetensors, tokenizer) as a foreign model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import tokenizers

from flan.checkpoints.foreign import names
from flan.checkpoints.foreign.hf_config import out_biases, read_config
from flan.checkpoints.foreign.import_model import ForeignModel
from flan.checkpoints.foreign.safetensors_io import SafetensorsFiles
from flan.data.hugging_face_vocabulary import (
    TOKENIZER_FILE,
    load_hugging_face,
    save_hugging_face,
)
from flan.data.sentencepiece_vocabulary import MODEL_FILE, SentencePieceVocabulary
from flan.json_file import read_object

CONFIG_FILE = "config.json"
PIECES_FILE = "tokenizer.model"
# What says how the tokenizer is used; it goes where the tokenizer goes.
TOKENIZER_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def open_hugging_face(path: Path) -> ForeignModel:
    """What a folder holds; ValueError or FileNotFoundError where it is no whole, readable model."""
    values = _read_object(path / CONFIG_FILE)
    try:
        family, config = read_config(values)
    except ValueError as error:
        raise ValueError(f"{path / CONFIG_FILE}: {error}") from error
    try:
        source = SafetensorsFiles(path)
    except FileNotFoundError as error:
        if pickles := sorted(p.name for p in path.glob("*.bin")):
            raise ValueError(
                f"{path} has its weights in {pickles[0]}, a pickle, which can run code and is not "
                "read; have transformers save it as safetensors"
            ) from error
        raise
    if not (path / TOKENIZER_FILE).is_file() and not (path / PIECES_FILE).is_file():
        raise FileNotFoundError(
            f"{path} has neither {TOKENIZER_FILE} nor {PIECES_FILE}: a model travels with its tokenizer"
        )
    head = "lm_head.weight"

    def ignored(name: str) -> bool:
        # Old files keep the rotary frequencies, some a copy of tied embeddings.
        return name.endswith(".rotary_emb.inv_freq") or (config.tie_embeddings and name == head)

    return ForeignModel(
        path=path,
        kind=f"Hugging Face model ({values['model_type']})",
        config=config,
        source=source,
        parameters=names.parameters(config, names.HUGGING_FACE, norm_offset=family.norm_offset),
        ignored=ignored,
        write_vocabulary=lambda folder: _write_vocabulary(path, folder),
        reads_start=_reads_start(path),
        files=source.files,
        zeros=out_biases(config, values),
    )


def _write_vocabulary(path: Path, folder: Path) -> None:
    if (path / TOKENIZER_FILE).is_file():
        save_hugging_face(load_hugging_face(path / TOKENIZER_FILE), folder)
    else:
        pieces = (path / PIECES_FILE).read_bytes()
        SentencePieceVocabulary(pieces)  # ValueError unless it is one
        (folder / MODEL_FILE).write_bytes(pieces)
    for name in TOKENIZER_CONFIGS:
        if (path / name).is_file():
            shutil.copyfile(path / name, folder / name)


def _reads_start(path: Path) -> bool:
    """Whether the tokenizer puts its start token before a text."""
    stated = _read_object(path / TOKENIZER_CONFIGS[0], {}).get("add_bos_token")
    if isinstance(stated, bool):
        return stated
    if not (path / TOKENIZER_FILE).is_file():
        return True  # SentencePiece models of this family do
    vocabulary = load_hugging_face(path / TOKENIZER_FILE)
    tokenizer = tokenizers.Tokenizer.from_str(vocabulary.content)
    with_specials = tokenizer.encode("a", add_special_tokens=True).ids
    without = tokenizer.encode("a", add_special_tokens=False).ids
    return len(with_specials) > len(without) and with_specials[0] == vocabulary.bos_id


def _read_object(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    if not path.is_file():
        if missing is not None:
            return missing
        raise FileNotFoundError(f"{path} is missing: expected a Hugging Face model folder")
    return read_object(path)
