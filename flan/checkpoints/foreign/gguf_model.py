"""A GGUF file as a foreign model."""

from __future__ import annotations

from pathlib import Path

from flan.checkpoints.foreign import names
from flan.checkpoints.foreign.gguf_config import ARCHITECTURES, DIVISORS, read_config
from flan.checkpoints.foreign.gguf_file import GgufFile
from flan.checkpoints.foreign.gguf_tokenizer import FoundTokenizer, read_tokenizer
from flan.checkpoints.foreign.import_model import ForeignModel
from flan.data import atomic
from flan.data.hugging_face_vocabulary import HuggingFaceVocabulary, save_hugging_face


def open_gguf(path: Path) -> ForeignModel:
    """What a GGUF file holds; ValueError for a damaged one or one that cannot be read."""
    file = GgufFile(path)
    architecture, config = read_config(file)
    tokenizer = read_tokenizer(file)
    quantized = sorted({info.dtype for info in file.infos.values()} - {"F32"})
    return ForeignModel(
        path=path,
        kind=f"GGUF ({architecture})",
        config=config,
        source=file,
        parameters=names.parameters(
            config, names.GGUF, interleaved=ARCHITECTURES[architecture].interleaved
        ),
        ignored=lambda name: name == DIVISORS,
        write_vocabulary=lambda folder: _write_tokenizer(tokenizer, folder),
        reads_start=tokenizer.reads_start,
        files=[path],
        notes=[f"weights were stored as {', '.join(quantized)}"] if quantized else [],
    )


def _write_tokenizer(tokenizer: FoundTokenizer, folder: Path) -> None:
    ids = tokenizer.ids
    vocabulary = HuggingFaceVocabulary(
        tokenizer.content, ids["eos"], ids.get("bos"), ids.get("unk")
    )
    save_hugging_face(vocabulary, folder)
    atomic.write_json(folder / "tokenizer_config.json", tokenizer.config)
