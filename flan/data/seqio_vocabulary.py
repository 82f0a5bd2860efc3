"""A vocabulary for seqio: the same ids in Python and in a TensorFlow graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan.data.vocabulary import Vocabulary, load_vocabulary


class SeqioVocabulary(seqio.Vocabulary):
    """Wraps a folder's `flan.data.vocabulary.Vocabulary`.

    In a graph it encodes through `tf.numpy_function`: the `sentencepiece` package is ten
    times as fast as TF-text's operation, and both drivers call the same code.

    Args:
      path: what `load_vocabulary` takes. Loaded again after copying or pickling, which gin
        and seqio do, so that the object stays small.
    """

    def __init__(self, path: str | Path):
        super().__init__(extra_ids=0)
        self.path = str(path)
        self._loaded: Vocabulary | None = load_vocabulary(path)
        self._fingerprint = self._loaded.fingerprint

    @property
    def vocabulary(self) -> Vocabulary:
        """The wrapped vocabulary."""
        if self._loaded is None:
            self._loaded = load_vocabulary(self.path)
            if self._loaded.fingerprint != self._fingerprint:
                raise ValueError(f"the vocabulary at {self.path} changed while it was in use")
        return self._loaded

    @property
    def bos_id(self) -> int:
        """Id fed at an example's first position."""
        return self.vocabulary.bos_id

    @property
    def eos_id(self) -> int:
        """Id that ends inputs and targets."""
        return self.vocabulary.eos_id

    @property
    def unk_id(self) -> int:
        """Id of what cannot be encoded."""
        return self.vocabulary.unk_id

    @property
    def _base_vocab_size(self) -> int:
        return self.vocabulary.vocab_size

    def _encode(self, s: str) -> list[int]:
        return self.vocabulary.encode(s)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, no EOS; faster than one by one."""
        return self.vocabulary.encode_batch(texts)

    def _decode(self, ids: Iterable[int]) -> str:
        return self.vocabulary.decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        """int32 `[tokens]` of a scalar string."""

        def encode(text: bytes) -> np.ndarray:
            return np.asarray(self.vocabulary.encode(text.decode("utf-8")), np.int32)

        ids = tf.numpy_function(encode, [s], tf.int32, stateful=False)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        """Strings of int32 `[..., tokens]`, one for each row."""

        def decode(rows: np.ndarray) -> np.ndarray:
            flat = rows.reshape(-1, rows.shape[-1]).tolist()
            texts = [self.vocabulary.decode(row).encode("utf-8") for row in flat]
            return np.array(texts, dtype=object).reshape(rows.shape[:-1])

        text = tf.numpy_function(decode, [ids], tf.string, stateful=False)
        text.set_shape(ids.shape[:-1])
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeqioVocabulary) and self._fingerprint == other._fingerprint

    def __hash__(self) -> int:
        return hash(self._fingerprint)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}

    def __repr__(self) -> str:
        return f"SeqioVocabulary({self.path!r}, size={self.vocab_size})"

    __str__ = __repr__


def check_same_ids(theirs: seqio.Vocabulary, ours: Vocabulary) -> str:
    """Refuses a vocabulary that gives texts other ids than ours does.

    Every piece of our vocabulary is encoded by both, and some sentences.

    Returns:
      What could not be compared, in words; empty where all is well.

    Raises:
      ValueError: they differ; says in what.
    """
    if isinstance(theirs, seqio.PassThroughVocabulary):
        if theirs.vocab_size > ours.vocab_size:
            raise ValueError(
                f"it has {theirs.vocab_size} ids and the run's vocabulary {ours.vocab_size}"
            )
        return "gives token ids and not text, so nobody can tell whether they are the run's"
    if theirs.eos_id != ours.eos_id:
        raise ValueError(f"EOS is {theirs.eos_id} in it and {ours.eos_id} in the run's")
    if isinstance(theirs, seqio.SentencePieceVocabulary):
        model = getattr(ours, "model", None)
        if model is not None and theirs.sp_model == model:
            return ""
    special = {ours.pad_id, ours.eos_id, ours.unk_id}
    pieces = (ours.decode([i]) for i in range(ours.vocab_size) if i not in special)
    texts = [*_SENTENCES, *(text for text in pieces if text and "\ufffd" not in text)]
    for text, expected in zip(texts, ours.encode_batch(texts), strict=True):
        try:
            found = list(theirs.encode(text))
        except Exception as error:  # whatever a foreign vocabulary raises
            raise ValueError(f"it cannot encode {text!r} ({error})") from None
        if found != expected:
            raise ValueError(f"it encodes {text!r} as {found}, the run's as {expected}")
    return ""


_SENTENCES = (
    "OPTIONS:\n- yes\n- no",
    "Does the premise entail the hypothesis?\n\n\tThe dog sleeps.",
    "  Two  spaces, café, привет, 你好 🙂 and 1,234.5%",
)
