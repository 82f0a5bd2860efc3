"""The vocabulary that a registered task brings along, as one of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import seqio

from flan.data import atomic, seqio_tasks
from flan.data.sentencepiece_vocabulary import (
    DESCRIPTION_FILE,
    MODEL_FILE,
    SentencePieceVocabulary,
    describe,
)
from flan.data.seqio_examples import import_modules
from flan.data.seqio_vocabulary import SeqioVocabulary


def own_vocabulary(name: str, modules: Sequence[str], cache_dir: str) -> str | None:
    """Path of the vocabulary of a task or mixture.

    Args:
      name: of the task or mixture.
      modules: to import first.
      cache_dir: gets a copy of a SentencePiece model.

    Returns:
      None for a name of ours: our tasks take any vocabulary.

    Raises:
      ValueError: unknown name, or a vocabulary of a kind that cannot be taken over.
    """
    seqio_tasks.install()
    import_modules(modules)
    if seqio_tasks.is_ours(name):
        return None
    theirs = seqio_tasks.get(name).output_features["targets"].vocabulary
    if isinstance(theirs, SeqioVocabulary):
        return theirs.path
    if not isinstance(theirs, seqio.SentencePieceVocabulary):
        raise ValueError(
            f"{name} has a {type(theirs).__name__}, which cannot be taken over: give the same "
            "tokenizer as a folder with sentencepiece.model or tokenizer.json (VOCABULARY)"
        )
    vocabulary = SentencePieceVocabulary(theirs.sp_model)
    key = hashlib.sha256(vocabulary.model).hexdigest()[:16]
    out = Path(cache_dir) / "vocabularies" / f"seqio-{key}"
    if not out.is_dir():
        with atomic.new_folder(out) as folder:
            (folder / MODEL_FILE).write_bytes(vocabulary.model)
            description = describe(vocabulary, "sentencepiece", MODEL_FILE)
            atomic.write_json(folder / DESCRIPTION_FILE, description)
    return str(out)
