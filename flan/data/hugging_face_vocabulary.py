"""Hugging Face tokenizers (`tokenizer.json`), with the ids that their config files name."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from flan.data import atomic
from flan.data.sentencepiece_vocabulary import DESCRIPTION_FILE, PAD_ID, describe
from flan.json_file import parse_json, read_json

TOKENIZER_FILE = "tokenizer.json"
# Where special tokens are named, the first that says so counting.
_CONFIG_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_ID_FILES = ("generation_config.json", "config.json")
# What a tokenizer is tried on; no token is likely to hold the second character.
_TRIAL = "a \U0010fffd 1\n"


class HuggingFaceVocabulary:
    """A `tokenizer.json` as a `flan.data.vocabulary.Vocabulary`.

    Special tokens written out in a text are text: no example can smuggle in an EOS.

    Args:
      content: the JSON text.
      eos_id: ends inputs and targets.
      bos_id: fed at an example's first position; EOS by default.
      unk_id: stands for what cannot be encoded; EOS by default, which byte-level
        vocabularies never need.

    Raises:
      ValueError: not a tokenizer, or an id outside it.
    """

    def __init__(
        self, content: str, eos_id: int, bos_id: int | None = None, unk_id: int | None = None
    ):
        with _explained():
            self._tokenizer = _open(content, {eos_id, bos_id, unk_id})
            self._tokenizer.encode_special_tokens = True
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            known = self._tokenizer.get_vocab(with_added_tokens=True).values()
            # Some fail only when they meet a text.
            for specials in (True, False):
                tried = self._tokenizer.encode(_TRIAL, add_special_tokens=specials).ids
            self._tokenizer.decode(tried)
        if not known:
            raise ValueError("the tokenizer has no tokens")
        self.content = content
        # The highest id counts, not the number of tokens: ids may have gaps.
        self.vocab_size: int = max(known) + 1
        self.pad_id = PAD_ID
        self.eos_id = eos_id
        self.bos_id = eos_id if bos_id is None else bos_id
        self.unk_id = eos_id if unk_id is None else unk_id
        for name in ("eos_id", "bos_id", "unk_id"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole and 0 <= value < self.vocab_size):
                raise ValueError(f"{name} {value!r} is no token of the {self.vocab_size}")
        ids = f"{self.eos_id} {self.bos_id} {self.unk_id}"
        self.fingerprint = hashlib.sha256(f"{ids}\n{content}".encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, no EOS or other special token added."""
        return self._of_text(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str], /) -> list[list[int]]:
        """Token ids of each text; the same as `encode` one by one, and faster."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._of_text(e.ids) for e in encoded]

    def _of_text(self, ids: list[int]) -> list[int]:
        """The same without EOS, which is no text.

        Unigram and word-level models take any token of theirs, EOS among them, for a piece.
        """
        if self.eos_id not in ids:
            return ids
        instead = [] if self.unk_id == self.eos_id else [self.unk_id]
        return [i for token in ids for i in (instead if token == self.eos_id else [token])]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids before the first EOS; special tokens and ids out of range are skipped."""
        kept = []
        for token in map(int, ids):
            if token == self.eos_id:
                break
            if 0 <= token < self.vocab_size:
                kept.append(token)
        return self._tokenizer.decode(kept, skip_special_tokens=True)


def save_hugging_face(vocabulary: HuggingFaceVocabulary, out_dir: str | Path) -> None:
    """Writes `tokenizer.json` and `vocabulary.json`, which says the ids, into an existing folder."""
    out_dir = Path(out_dir)
    atomic.write_file(out_dir / TOKENIZER_FILE, vocabulary.content.encode())
    description = describe(vocabulary, "hugging_face", TOKENIZER_FILE)
    atomic.write_json(out_dir / DESCRIPTION_FILE, description)


def load_hugging_face(path: Path) -> HuggingFaceVocabulary:
    """A `tokenizer.json` whose special ids the files beside it name.

    Raises ValueError where no file says which token is EOS.
    """
    try:
        added = read_json(path).get("added_tokens", [])
        by_content = {t["content"]: t["id"] for t in added}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a Hugging Face tokenizer: {error}") from error
    ids = {kind: _special_id(path.parent, kind, by_content) for kind in ("eos", "bos", "unk")}
    if ids["eos"] is None:
        looked = ", ".join((*_CONFIG_FILES, *_ID_FILES))
        raise ValueError(
            f"{path}: no file beside it names the EOS token (looked into {looked}); "
            f"put a {_CONFIG_FILES[0]} with an eos_token there"
        )
    return open_tokenizer(path, ids["eos"], ids["bos"], ids["unk"])


def open_tokenizer(
    path: Path, eos_id: Any, bos_id: Any = None, unk_id: Any = None
) -> HuggingFaceVocabulary:
    """A `tokenizer.json` whose special ids are known; ValueError naming the file."""
    try:
        content = path.read_text(encoding="utf-8")
        return HuggingFaceVocabulary(content, eos_id, bos_id, unk_id)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _open(content: str, special: set[Any]) -> tokenizers.Tokenizer:
    """The tokenizer, whose added tokens of the ids in `special` are special, as all should be.

    Only special ones are text where a text spells them out.
    """
    tokenizer = tokenizers.Tokenizer.from_str(content)
    added = tokenizer.get_added_tokens_decoder()
    if all(token.special for i, token in added.items() if i in special):
        return tokenizer
    values = parse_json(content, "the tokenizer")
    for token in values["added_tokens"]:
        token["special"] = token["special"] or token["id"] in special
    return tokenizers.Tokenizer.from_str(json.dumps(values))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # bare Exceptions, and panics, which are not even these
        raise ValueError(f"not a Hugging Face tokenizer that works: {error}") from error


def _special_id(folder: Path, kind: str, by_content: dict[str, int]) -> int | None:
    for name in _CONFIG_FILES:
        token = _read_object(folder / name).get(f"{kind}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token in by_content:
            return by_content[token]
    for name in _ID_FILES:
        token_id = _read_object(folder / name).get(f"{kind}_token_id")
        if isinstance(token_id, list) and token_id:
            token_id = token_id[0]
        if isinstance(token_id, int):
            return token_id
    return None


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    return value if isinstance(value, dict) else {}
