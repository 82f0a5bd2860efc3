"""Encodes text word by word out of a cache, several times as fast as SentencePiece itself.

Where no piece reaches over a word's border, the ids of a text are those of its words, one
after the other, and most words have been seen before.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from sentencepiece import sentencepiece_model_pb2 as model_pb2

# SentencePiece writes a space as this character.
SPACE_MARK = "\u2581"
_MOST_WORDS = 1 << 19


def encodes_by_words(model: bytes) -> bool:
    """Whether words can be encoded by themselves: true for what `train_sentencepiece` makes.

    It takes BPE on the text as it is, with a space before its first word, pieces that have
    one space at most, at their beginning, and line ends that are pieces of their own.
    """
    message: Any = model_pb2  # its classes are made at run time
    proto = message.ModelProto.FromString(model)
    normalizer, trainer = proto.normalizer_spec, proto.trainer_spec
    pieces = proto.SentencePiece
    user_defined = {p.piece for p in proto.pieces if p.type == pieces.USER_DEFINED}
    return (
        trainer.model_type == trainer.BPE
        and normalizer.name == "identity"
        and not normalizer.precompiled_charsmap
        and not normalizer.remove_extra_whitespaces
        and normalizer.add_dummy_prefix
        and normalizer.escape_whitespaces
        and not trainer.treat_whitespace_as_suffix
        and "\n" in user_defined
        and user_defined <= {"\n", "\t"}
        and not any(p.piece.rfind(SPACE_MARK) > 0 for p in proto.pieces)
    )


class WordCache:
    """Encodes texts with a model that `encodes_by_words`. Safe to call from threads.

    Known words are numbered, and the ids of all of them lie end to end in one array, so that
    a text is a list of numbers and its ids are one gather: no list of ids is ever made.
    """

    def __init__(self, processor: Any):
        self._processor = processor
        self._lock = threading.Lock()
        self._forget()

    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """int32 `[tokens]`, the ids of texts end to end; int64 `[texts]`, how many each has."""
        # A word that begins with a line end has no space before it, all others have one.
        spelled = [text.replace("\n", " \n") for text in texts]
        words = " ".join(filter(None, spelled)).split(" ") if any(spelled) else []
        counts = np.array([text.count(" ") + 1 if text else 0 for text in spelled], np.int64)
        with self._lock:
            # The second is so where learning was interrupted.
            if len(self._numbers) > _MOST_WORDS or len(self._numbers) != self._known:
                self._forget()
            numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
            if len(self._numbers) > self._known:
                self._learn()
            sizes = self._sizes[numbers]
            ids = self._ids[ranges(self._starts[numbers], sizes)]
        ends = np.concatenate([[0], np.cumsum(sizes)])[np.cumsum(counts)]
        return ids, np.diff(ends, prepend=0)

    def _forget(self) -> None:
        self._numbers = _Numbers()
        self._known = 0
        # Longer than what is known, so that learning does not copy each time.
        self._ids = np.zeros(1024, np.int32)
        self._starts, self._sizes = np.zeros((2, 1024), np.int64)

    def _learn(self) -> None:
        """Encodes the words that got a number since the last call."""
        known, count = self._known, len(self._numbers)
        words = list(itertools.islice(reversed(self._numbers), count - known))[::-1]
        encoded = self._processor.encode(words, out_type=int, num_threads=1)
        mark = [self._processor.piece_to_id(SPACE_MARK)]
        for place, word in enumerate(words):
            if not word:  # a space alone
                encoded[place] = mark
            elif word[0] == "\n":
                encoded[place] = encoded[place][1:]
        sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
        first = int(self._starts[known - 1] + self._sizes[known - 1]) if known else 0
        ends = first + np.cumsum(sizes)
        new_ids = np.fromiter(itertools.chain.from_iterable(encoded), np.int32, ends[-1] - first)
        self._ids = _put(self._ids, first, new_ids)
        self._starts = _put(self._starts, known, ends - sizes)
        self._sizes = _put(self._sizes, known, sizes)
        self._known = count


class _Numbers(dict[str, int]):
    """Numbers words in the order in which they are first asked for."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


def ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """int64 `[sum of sizes]`: each start, the number after it, ..., `size` of them, end to end."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - sizes), sizes)


def _put(array: np.ndarray, start: int, values: np.ndarray) -> np.ndarray:
    """The array with `values` from `start` on, grown to twice its need where it is too short."""
    end = start + len(values)
    if end > len(array):
        grown = np.empty(2 * end, array.dtype)
        grown[:start] = array[:start]
        array = grown
    array[start:end] = values
    return array
