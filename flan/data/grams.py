"""Hashes of word n-grams, a whole block of text at a time in NumPy.

A word is a run of letters, digits and other characters that are neither white space nor
punctuation, in lower case. Hashes are polynomials modulo 2^64, whose prefix sums give the
hash of any stretch by a subtraction, so that no loop runs over words.
"""

from __future__ import annotations

import functools
import string
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

N = 13
BLOCK_BYTES = 512 << 10
# Between documents of a block: no n-gram reaches over it.
DOCUMENT_END = b"\x01"

_BYTE_BASE, _WORD_BASE = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93  # odd, and so invertible
_MASK = (1 << 64) - 1
# White space outside ASCII, what has no width (a byte order mark, too), the commonest punctuation.
_GAP_CHARACTERS = (
    "\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
    "\u00ab\u00bb\u00a1\u00bf\u2018\u2019\u201c\u201d\u201e\u2013\u2014\u2026\u2022"
)
_GAPS = np.zeros(256, bool)
_GAPS[: ord(" ") + 1] = True
_GAPS[[ord(c) for c in string.punctuation]] = True
_GAPS[0x7F] = True
_BYTES = np.arange(1, 257, dtype=np.uint64)  # from 1: a 0 would add nothing to a sum


class Words(NamedTuple):
    """The words of a block: uint64 hashes, int64 number of each one's document, int64 first byte."""

    hashes: np.ndarray
    documents: np.ndarray
    starts: np.ndarray


def normalize(text: str) -> bytes:
    """Lower case, accents one way (NFC), and what is between words outside ASCII as spaces."""
    text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        for char in _GAP_CHARACTERS:
            if char in text:  # a look costs a tenth of replacing nothing
                text = text.replace(char, " ")
    return text.encode("utf-8", "replace")


def pack(texts: Iterable[str]) -> Iterator[bytes]:
    """Documents as normalized blocks of about `BLOCK_BYTES`."""
    held: list[bytes] = []
    size = 0
    for text in texts:
        # A document's own end marks would cut it in two.
        data = normalize(text).replace(DOCUMENT_END, b" ")
        held.append(data)
        size += len(data) + 1
        if size >= BLOCK_BYTES:
            yield DOCUMENT_END.join(held)
            held, size = [], 0
    if held:
        yield DOCUMENT_END.join(held)


def words(data: bytes) -> Words:
    """The words of a normalized block of documents with `DOCUMENT_END` between them."""
    block = np.frombuffer(data, np.uint8)
    inside = np.concatenate([[False], ~_GAPS[block], [False]])
    borders = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = borders[::2], borders[1::2]
    powers, inverses = _powers(_BYTE_BASE, len(block) + 1)
    sums = np.zeros(len(block) + 1, np.uint64)
    np.multiply(_BYTES[block], powers[: len(block)], out=sums[1:])
    np.cumsum(sums, out=sums)
    hashes = (sums[ends] - sums[starts]) * inverses[starts]
    ends_of = np.flatnonzero(block == DOCUMENT_END[0])
    documents = np.searchsorted(ends_of, starts) if len(ends_of) else np.zeros(len(starts), int)
    return Words(mix(hashes + (ends - starts).astype(np.uint64)), documents, starts)


def grams(found: Words, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """uint64 hashes of all n-grams within documents, and the place of each one's first word."""
    count = len(found.hashes) - n + 1
    if count < 1:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    powers, inverses = _powers(_WORD_BASE, len(found.hashes) + 1)
    sums = np.zeros(len(found.hashes) + 1, np.uint64)
    np.multiply(found.hashes, powers[:-1], out=sums[1:])
    np.cumsum(sums, out=sums)
    hashes = mix((sums[n:] - sums[:-n]) * inverses[:count])
    places = np.flatnonzero(found.documents[n - 1 :] == found.documents[:count])
    return hashes[places], places


def whole(found: Words, count: int) -> np.ndarray:
    """uint64 `[count]`: a hash of each document's words in order; 0 for one without any."""
    numbers = np.arange(count)
    starts = np.searchsorted(found.documents, numbers)
    ends = np.searchsorted(found.documents, numbers, side="right")
    powers, inverses = _powers(_WORD_BASE, len(found.hashes) + 1)
    sums = np.zeros(len(found.hashes) + 1, np.uint64)
    np.cumsum(found.hashes * powers[:-1], out=sums[1:])
    hashes = (sums[ends] - sums[starts]) * inverses[starts]
    # Odd, so that it is never the 0 of a document without words.
    hashes = mix(hashes + (ends - starts).astype(np.uint64)) | np.uint64(1)
    return np.where(ends > starts, hashes, np.uint64(0))


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer: every bit of the input reaches every bit of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _powers(base: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first powers of a base and of its inverse, modulo 2^64."""
    size = 1 << max(count - 1, 1).bit_length()
    powers, inverses = _all_powers(base, size)
    return powers[:count], inverses[:count]


@functools.lru_cache(maxsize=8)
def _all_powers(base: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    both = []
    for one in (base, pow(base, -1, 1 << 64)):
        powers = np.ones(count, np.uint64)
        done = 1
        while done < count:  # doubling: the second half is the first times base^half
            step = min(done, count - done)
            powers[done : done + step] = powers[:step] * np.uint64(pow(one, done, 1 << 64) & _MASK)
            done += step
        both.append(powers)
    return both[0], both[1]
