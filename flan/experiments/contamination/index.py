"""The n-grams of evaluation examples, and which of them a corpus has."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from flan.data.grams import N, grams, pack, words

# Examples of fewer words than n are looked for whole, down to this many (GPT-3's least n).
SHORTEST = 8
_MOST_FILTER_BITS = 24
_DUPLICATE = 0.8  # share of an example's n-grams that makes it a near-duplicate


@dataclasses.dataclass(frozen=True)
class Example:
    """An evaluation example: its dataset, source, split, row id and text."""

    dataset: str
    source: str
    split: str
    row: int
    text: str


class Index:
    """The n-grams of evaluation examples.

    Attributes:
      examples: in the order given.
      n: words of a gram.
      fingerprint: of the grams, in order.
    """

    def __init__(self, examples: Iterable[Example], n: int = N) -> None:
        """Hashes all examples; ValueError for an n below `SHORTEST`."""
        if n < SHORTEST:
            raise ValueError(f"n-grams need {SHORTEST} words or more to mean something, got {n}")
        self.examples: Sequence[Example] = tuple(examples)
        self.n = n
        # Per length of gram (n, and those of whole short examples): owner and hash of each.
        owners: dict[int, list[np.ndarray]] = {}
        hashes: dict[int, list[np.ndarray]] = {}
        self._counts = np.zeros(len(self.examples), np.int64)
        document = 0
        for block in pack(e.text for e in self.examples):
            found = words(block)
            size = block.count(b"\x01") + 1
            lengths = np.bincount(found.documents, minlength=size)
            for length in {n, *np.unique(lengths[(lengths >= SHORTEST) & (lengths < n)]).tolist()}:
                values, places = grams(found, length)
                owner = found.documents[places]
                if length != n:  # whole short examples alone
                    whole = lengths[owner] == length
                    values, owner = values[whole], owner[whole]
                owners.setdefault(length, []).append(owner + document)
                hashes.setdefault(length, []).append(values)
            document += size
        self._owners = {k: np.concatenate(v) for k, v in owners.items()}
        self._places: dict[int, np.ndarray] = {}
        self._grams: dict[int, np.ndarray] = {}
        self._filters: dict[int, np.ndarray] = {}
        self.found: dict[int, np.ndarray] = {}
        digest = hashlib.sha256(str(n).encode())
        for length, parts in sorted(hashes.items()):
            unique, places = np.unique(np.concatenate(parts), return_inverse=True)
            self._grams[length], self._places[length] = unique, places
            self._filters[length] = _filter(unique)
            self.found[length] = np.zeros(len(unique), bool)
            np.add.at(self._counts, self._owners[length], 1)
            digest.update(unique.tobytes() + self._owners[length].tobytes())
        self.fingerprint = digest.hexdigest()

    def look(self, block: bytes) -> None:
        """Marks the grams that a block of the corpus has."""
        found = words(block)
        for length, known in self._grams.items():
            values, _ = grams(found, length)
            # A table of bits first: nearly nothing of a corpus is in an evaluation set.
            near = values[_pass(self._filters[length], values)]
            if not len(near):
                continue
            places = np.minimum(np.searchsorted(known, near), len(known) - 1)
            self.found[length][places[known[places] == near]] = True

    def overlap(self) -> np.ndarray:
        """float64 `[examples]`: share of each example's grams that were found; NaN for too short."""
        hits = np.zeros(len(self.examples), np.int64)
        for length, owners in self._owners.items():
            np.add.at(hits, owners, self.found[length][self._places[length]])
        with np.errstate(invalid="ignore"):
            return np.where(self._counts > 0, hits / np.maximum(self._counts, 1), np.nan)


def _filter(hashes: np.ndarray) -> np.ndarray:
    """A table that is true at the first bits of each hash, an eighth full or less if it can be."""
    bits = min(max(len(hashes).bit_length() + 3, 10), _MOST_FILTER_BITS)
    table = np.zeros(1 << bits, bool)
    table[hashes >> np.uint64(64 - bits)] = True
    return table


def _pass(table: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    return table[hashes >> np.uint64(64 - (len(table).bit_length() - 1))]


def near_duplicates(overlap: np.ndarray) -> np.ndarray:
    """Which examples were found for the most part, bool `[examples]`."""
    return np.nan_to_num(overlap) >= _DUPLICATE
