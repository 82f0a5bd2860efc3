"""Vocabularies: text to token ids and back, whatever the tokenizer behind it.

A vocabulary is a folder: `sentencepiece.model` (ours, trained by `train_sentencepiece`, or
any other) or a Hugging Face `tokenizer.json`, with a `vocabulary.json` that says its ids.
No TensorFlow here; `flan.data.seqio_vocabulary` wraps one for seqio.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from flan.data.hugging_face_vocabulary import (
    TOKENIZER_FILE,
    HuggingFaceVocabulary,
    load_hugging_face,
    open_tokenizer,
)
from flan.data.sentencepiece_vocabulary import (
    DEFAULT_SIZE,
    DESCRIPTION_FILE,
    FORMAT,
    MODEL_FILE,
    SentencePieceVocabulary,
    train_sentencepiece,
)
from flan.json_file import read_json

__all__ = [
    "DEFAULT_SIZE",
    "HuggingFaceVocabulary",
    "SentencePieceVocabulary",
    "Vocabulary",
    "check_round_trip",
    "load_vocabulary",
    "train_sentencepiece",
]


class Vocabulary(Protocol):
    """What the rest of the project needs of a tokenizer. Padding is id 0 in every batch."""

    @property
    def vocab_size(self) -> int:
        """Ids are below this."""

    @property
    def pad_id(self) -> int:
        """Always 0."""

    @property
    def eos_id(self) -> int:
        """Ends inputs and targets."""

    @property
    def unk_id(self) -> int:
        """Stands for what cannot be encoded."""

    @property
    def bos_id(self) -> int:
        """Fed at an example's first position; 0 for our own vocabularies."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of all that decides which ids a text gets."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, no EOS."""

    def encode_batch(self, texts: Sequence[str], /) -> list[list[int]]:
        """Token ids of each text, no EOS."""

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids before the first EOS, padding skipped."""


def load_vocabulary(path: str | Path) -> SentencePieceVocabulary | HuggingFaceVocabulary:
    """The vocabulary of a folder, of a `.model` file or of a `tokenizer.json`.

    Raises:
      FileNotFoundError: nothing there.
      ValueError: no vocabulary in it, a damaged one, or a `vocabulary.json` that says
        something else than the file beside it.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no vocabulary at {path}: give a folder with {MODEL_FILE} or {TOKENIZER_FILE}, or "
            f"make one with `flan vocab train --out {path}`"
        )
    if path.is_file():
        if path.suffix == ".json":
            return load_hugging_face(path)
        return _load_sentencepiece(path)
    description = _read_description(path)
    vocabulary: SentencePieceVocabulary | HuggingFaceVocabulary
    if (path / MODEL_FILE).is_file():
        vocabulary = _load_sentencepiece(path / MODEL_FILE)
    elif (path / TOKENIZER_FILE).is_file() and description:
        ids = [description.get(key) for key in ("eos_id", "bos_id", "unk_id")]
        vocabulary = open_tokenizer(path / TOKENIZER_FILE, *ids)
    elif (path / TOKENIZER_FILE).is_file():
        vocabulary = load_hugging_face(path / TOKENIZER_FILE)
    else:
        found = sorted(p.name for p in path.iterdir())[:8]
        raise ValueError(
            f"{path} has neither {MODEL_FILE} nor {TOKENIZER_FILE}; it has {found or 'nothing'}"
        )
    stated = description.get("fingerprint", vocabulary.fingerprint)
    if stated != vocabulary.fingerprint:
        raise ValueError(
            f"{path}: {DESCRIPTION_FILE} describes another vocabulary (fingerprint "
            f"{str(stated)[:12]}, the file beside it has {vocabulary.fingerprint[:12]}): one of "
            "the two was replaced or damaged"
        )
    return vocabulary


def _load_sentencepiece(path: Path) -> SentencePieceVocabulary:
    try:
        return _sentencepiece(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@functools.lru_cache(maxsize=2)
def _sentencepiece(model: bytes) -> SentencePieceVocabulary:
    """A model's only one: it is asked for again and again, and remembers the words it has met."""
    return SentencePieceVocabulary(model)


def _read_description(folder: Path) -> dict[str, Any]:
    """`vocabulary.json`, or {} where there is none; ValueError for a foreign one."""
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        return {}
    description = read_json(path)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"{path}: not a vocabulary description of format {FORMAT!r}")
    return description


# What a vocabulary has to bring back line for line, and what it is only noted for losing.
_LINES = ("OPTIONS:\n- yes\n- no", "first\n\nthird", "\nsecond", "first\n")
_DETAILS = {
    "leading or double spaces": "  two  spaces",
    "tabs": "one\ttwo",
    "capital letters": "Rome",
    "accents": "café naïve Ünal",
    "characters outside Latin": "привет 你好 🙂",
    "quotes and dashes": "“so” — ‘it’ – goes…",
}


def check_round_trip(
    vocabulary: Vocabulary,
    option_sets: Mapping[str, Sequence[str]] | Iterable[Sequence[str]] = (),
) -> list[str]:
    """The gate that a vocabulary has to pass before anything is tokenized with it.

    Args:
      vocabulary: the one to check.
      option_sets: answer choices that have to stay apart, with or without a name for each.

    Returns:
      What it does not keep but may lose: "capital letters", "tabs", ...

    Raises:
      ValueError: it loses line ends, which destroys the OPTIONS list, or gives two options
        of a set the same tokens, or one none. Says which.
    """
    problems = []
    for text in _LINES:
        back = vocabulary.decode(vocabulary.encode(text))
        if _line_pattern(back) != _line_pattern(text):
            problems.append(f"it loses line ends: {text!r} comes back as {back!r}")
            break
    named = (
        option_sets.items()
        if isinstance(option_sets, Mapping)
        else ((None, options) for options in option_sets)
    )
    for name, options in named:
        where = f" of {name}" if name else ""
        seen: dict[tuple[int, ...], str] = {}
        for option, ids in zip(options, vocabulary.encode_batch(list(options)), strict=True):
            key = tuple(ids)
            if not key:
                problems.append(f"option {option!r}{where} has no tokens")
            elif seen.setdefault(key, option) != option:
                problems.append(
                    f"options {seen[key]!r} and {option!r}{where} get the same tokens {ids}"
                )
    if problems:
        shown = "; ".join(problems[:10]) + ("; ..." if len(problems) > 10 else "")
        raise ValueError(
            f"this vocabulary cannot be used: {shown}. Use one that keeps line ends and tells "
            "the options apart; `flan vocab train` makes one"
        )
    kept = {k: vocabulary.decode(vocabulary.encode(text)) == text for k, text in _DETAILS.items()}
    return [kind for kind, same in kept.items() if not same]


def _line_pattern(text: str) -> list[bool]:
    """For each line whether it is blank: what must survive, whatever becomes of the words."""
    return [not line.strip() for line in text.split("\n")]
