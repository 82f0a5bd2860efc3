"""SentencePiece vocabularies: BPE with byte fallback whose text comes back exactly."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from flan.data import atomic
from flan.data.word_cache import SPACE_MARK, WordCache, encodes_by_words

MODEL_FILE = "sentencepiece.model"
DESCRIPTION_FILE = "vocabulary.json"
FORMAT = "flan-vocabulary-1"
DEFAULT_SIZE = 32_000

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2

# Line ends and tabs are pieces of their own: never merged, never lost. SentencePiece skips
# training sentences with a tab, so the text is cut there.
_WHOLE_PIECES = ("\n", "\t")
_CUT = re.compile(r"[\n\r\t\0]+")
_LONGEST_SENTENCE = 4_000  # characters; SentencePiece would leave out longer ones


class SentencePieceVocabulary:
    """A SentencePiece model as a `flan.data.vocabulary.Vocabulary`.

    Args:
      model: the serialized model.

    Raises:
      ValueError: not a SentencePiece model, or one without EOS.
    """

    def __init__(self, model: bytes):
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"not a SentencePiece model: {error}") from error
        if self._processor.eos_id() < 0:
            raise ValueError("the SentencePiece model has no EOS piece, which ends every example")
        self.model = model
        self.fingerprint = hashlib.sha256(model).hexdigest()
        self.vocab_size: int = self._processor.vocab_size()
        self.pad_id = PAD_ID
        self.eos_id: int = self._processor.eos_id()
        self.unk_id: int = self._processor.unk_id()
        self.bos_id: int = max(self._processor.bos_id(), PAD_ID)
        try:
            self._mark_ids = self._byte_ids(SPACE_MARK)
            self._words = WordCache(self._processor) if encodes_by_words(model) else None
            self.decode(self.encode(f"a {SPACE_MARK} 1\n"))
        except Exception as error:  # a damaged model raises many kinds, some only for a text
            raise ValueError(f"the SentencePiece model is damaged: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, no EOS."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str], /) -> list[list[int]]:
        """Token ids of each text; faster than one by one."""
        ids, lengths = self.encode_flat(texts)
        flat, ends = ids.tolist(), np.cumsum(lengths).tolist()
        return [flat[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]

    def encode_flat(self, texts: Sequence[str], /) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of the texts end to end, int32 `[tokens]`, and how many each has, int64."""
        marked = bool(self._mark_ids) and any(SPACE_MARK in text for text in texts)
        if self._words is not None and not marked:
            return self._words.encode_flat(texts)
        encoded = self._processor.encode(list(texts), out_type=int, num_threads=1)
        if marked:
            for place, text in enumerate(texts):
                if SPACE_MARK in text:
                    encoded[place] = self._encode_with_marks(text)
        return flatten(encoded)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids before the first EOS; padding is skipped, an id out of range is unknown."""
        kept = []
        for token in map(int, ids):
            if token == self.eos_id:
                break
            if token != self.pad_id:
                kept.append(token if 0 <= token < self.vocab_size else self.unk_id)
        return self._processor.decode(kept)

    def _byte_ids(self, character: str) -> list[int]:
        """Ids that spell a character in bytes; empty where the model has no such pieces."""
        pieces = [self._processor.piece_to_id(f"<0x{b:02X}>") for b in character.encode()]
        return pieces if all(self._processor.is_byte(p) for p in pieces) else []

    def _encode_with_marks(self, text: str) -> list[int]:
        """Encodes with a private character in the mark's place, then swaps in the mark's bytes."""
        stand_in = next(
            c
            for c in map(chr, range(0xE000, 0xF8FF))
            if c not in text and self._processor.piece_to_id(c) == self.unk_id
        )
        stand_in_ids = self._byte_ids(stand_in)
        width = len(stand_in_ids)
        encoded = self._processor.encode(text.replace(SPACE_MARK, stand_in), out_type=int)
        ids: list[int] = []
        place = 0
        while place < len(encoded):
            if encoded[place : place + width] == stand_in_ids:
                ids += self._mark_ids
                place += width
            else:
                ids.append(encoded[place])
                place += 1
        return ids


def flatten(encoded: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of ids end to end, int32 `[tokens]`, and their lengths, int64 `[lists]`."""
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    ids = itertools.chain.from_iterable(encoded)
    return np.fromiter(ids, np.int32, int(lengths.sum())), lengths


def train_sentencepiece(
    texts: Iterable[str],
    out_dir: str | Path,
    vocab_size: int = DEFAULT_SIZE,
    *,
    character_coverage: float = 0.9995,
    shrink: bool = False,
    overwrite: bool = False,
) -> SentencePieceVocabulary:
    """Trains a BPE vocabulary and writes it as a folder.

    Pad is 0, EOS 1, unknown 2, no BOS. Every text round-trips: no normalization, spaces
    kept, line ends and tabs pieces of their own, rare characters spelled in bytes. A text
    starts with a space piece that decoding removes again, so that a target "yes" has the
    token of " yes" in the options. The same texts give the same bytes.

    Args:
      texts: what to learn from; read once.
      out_dir: gets `sentencepiece.model` and `vocabulary.json`, or nothing on an error.
      vocab_size: pieces, all special ones and the 256 bytes among them.
      character_coverage: share of the characters that get a piece of their own.
      shrink: take the largest vocabulary that the text supports instead of refusing.
      overwrite: replace an `out_dir` that is there.

    Raises:
      ValueError: the text is too small for `vocab_size` (and `shrink` is false), or has
        more kinds of characters than fit; `out_dir` is there; no text at all.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and not overwrite:
        raise ValueError(f"{out_dir} is there already: give another folder, or ask to overwrite it")
    counted = _Counted(_sentences(texts))
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(counted),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=not shrink,
            byte_fallback=True,
            character_coverage=character_coverage,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=True,
            split_digits=True,
            user_defined_symbols=list(_WHOLE_PIECES),
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=-1,
            max_sentence_length=4 * _LONGEST_SENTENCE + 16,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(_training_error(str(error), vocab_size, counted)) from error
    vocabulary = SentencePieceVocabulary(model.getvalue())
    with atomic.new_folder(out_dir, replace=overwrite) as folder:
        (folder / MODEL_FILE).write_bytes(vocabulary.model)
        training = {"sentences": counted.sentences, "characters": counted.characters}
        description = {
            **describe(vocabulary, "sentencepiece", MODEL_FILE),
            "asked_vocab_size": vocab_size,
            "trained_on": training,
        }
        atomic.write_json(folder / DESCRIPTION_FILE, description)
    return vocabulary


def describe(vocabulary: Any, kind: str, file: str) -> dict[str, Any]:
    """The part of `vocabulary.json` that every kind of vocabulary has."""
    return {
        "format": FORMAT,
        "kind": kind,
        "file": file,
        "fingerprint": vocabulary.fingerprint,
        "vocab_size": vocabulary.vocab_size,
        "pad_id": vocabulary.pad_id,
        "eos_id": vocabulary.eos_id,
        "unk_id": vocabulary.unk_id,
        "bos_id": vocabulary.bos_id,
    }


class _Counted:
    """An iterable that counts what passes."""

    def __init__(self, sentences: Iterator[str]):
        self._source = sentences
        self.sentences = self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for sentence in self._source:
            self.sentences += 1
            self.characters += len(sentence)
            yield sentence


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """Lines of the texts, cut to what SentencePiece takes, mark characters as spaces."""
    for text in texts:
        for line in _CUT.split(text.replace(SPACE_MARK, " ")):
            for start in range(0, len(line), _LONGEST_SENTENCE):
                if sentence := line[start : start + _LONGEST_SENTENCE]:
                    yield sentence


def _training_error(message: str, vocab_size: int, counted: _Counted) -> str:
    read = f"{counted.sentences:,} lines with {counted.characters:,} characters"
    if not counted.sentences:
        return "no text to train a vocabulary on: the datasets gave no example"
    if match := re.search(r"too high .*value <= (\d+)", message):
        return (
            f"the text ({read}) is too small for a vocabulary of {vocab_size}: it supports "
            f"{match.group(1)} at most. Give more text, ask for {match.group(1)} or fewer, or "
            "let it shrink"
        )
    if match := re.search(r"smaller than required_chars. (\d+) vs (\d+)", message):
        return (
            f"a vocabulary of {vocab_size} has no room for the characters of the text ({read}) and "
            f"the 256 bytes: ask for {match.group(2)} or more, or lower character_coverage"
        )
    return f"SentencePiece could not train a vocabulary of {vocab_size} on {read}: {message}"
