"""Reads TFRecord files without TensorFlow, checksums and all.

A record is its length (uint64), the length's masked CRC-32C (uint32), the bytes, and their
masked CRC-32C. Starting TensorFlow takes seconds and its per-row path reads 2,000 rows a
second; here the file is memory-mapped and the checksums of many records are worked out at
once with NumPy.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_BATCH = 2048  # records whose checksums are worked out together
_BATCH_BYTES = 1 << 24
_CHUNK = 128


def read_records(path: Path, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yields the records `start` up to `stop` (None: to the end) of a file.

    Raises ValueError where the file is truncated or damaged, naming the record; fewer
    records than `stop` end the iteration early, which callers that know better check.
    """
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data, total = np.frombuffer(content, np.uint8), len(content)
    unpack = _HEADER.unpack_from
    place = number = 0
    while place < total and (stop is None or number < stop):
        starts: list[int] = []
        sizes: list[int] = []
        first, budget = number, _BATCH_BYTES
        while place < total and number != stop and len(starts) < _BATCH and budget > 0:
            end = place + _HEADER.size
            length = unpack(content, place)[0] if end <= total else 0
            starts.append(end)
            sizes.append(length)
            place = end + length + _FOOTER.size
            if place > total:  # perhaps led astray by a wrong length before
                _check(data, np.array(starts[:-1]), np.array(sizes[:-1]), path, first)
                raise _damaged(path, number)
            budget -= length
            number += 1
        skipped = min(max(start - first, 0), len(starts))
        starts, sizes = starts[skipped:], sizes[skipped:]
        _check(data, np.array(starts, np.int64), np.array(sizes, np.int64), path, first + skipped)
        for begin, size in zip(starts, sizes, strict=True):
            yield content[begin : begin + size]


def _check(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, path: Path, first: int) -> None:
    """Compares the checksums of some records and of their lengths."""
    if not len(starts):
        return
    lengths_at = starts - _HEADER.size
    eight = np.full_like(sizes, 8)
    right = _stored(data, lengths_at + 8) == _mask(crc32c(data, lengths_at, eight))
    right &= _stored(data, starts + sizes) == _mask(crc32c(data, starts, sizes))
    if not right.all():
        raise _damaged(path, first + int(np.argmin(right)))


def _damaged(path: Path, number: int) -> ValueError:
    return ValueError(
        f"{path}: record {number} is damaged or cut off: copy or prepare the dataset again"
    )


def _stored(data: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The little-endian uint32 at each place."""
    return data[places[:, None] + np.arange(4)].view("<u4")[:, 0]


def crc32c(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """CRC-32C (Castagnoli) of many slices of a buffer.

    All pieces of `_CHUNK` bytes are worked out together, byte by byte, and then joined: a
    checksum is linear, so that going on after n bytes is a table look-up for a fixed n.

    Args:
      data: uint8 `[bytes]`.
      starts, sizes: int64 `[n]`, where each slice begins and how long it is.

    Returns:
      uint32 `[n]`.
    """
    heads, counts = sizes % _CHUNK, sizes // _CHUNK
    state = np.full(len(starts), 0xFFFFFFFF, np.uint32)
    for turn, active in _turns(heads):
        state[active] = _step(state[active], data[starts[active] + turn])
    ends = np.cumsum(counts)
    first = ends - counts
    number = np.arange(ends[-1] if len(ends) else 0) - np.repeat(first, counts)
    places = np.repeat(starts + heads, counts) + _CHUNK * number
    chunks = np.zeros(len(places), np.uint32)
    for turn in range(_CHUNK if len(places) else 0):
        chunks = _step(chunks, data[places + turn])
    for turn, active in _turns(counts):
        state[active] = _skip_chunk(state[active]) ^ chunks[first[active] + turn]
    return state ^ np.uint32(0xFFFFFFFF)


def _turns(counts: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For each turn from 0, the places whose count is above it."""
    order = np.argsort(-counts, kind="stable")
    falling = -counts[order]
    for turn in range(int(counts.max(initial=0))):
        yield turn, order[: int(np.searchsorted(falling, -turn, side="left"))]


def _step(state: np.ndarray, byte: np.ndarray) -> np.ndarray:
    return _TABLE[(state ^ byte) & 0xFF] ^ (state >> np.uint32(8))


def _skip_chunk(state: np.ndarray) -> np.ndarray:
    """The state after `_CHUNK` zero bytes."""
    result = _SKIP[0][state & 0xFF]
    for place in range(1, 4):
        result ^= _SKIP[place][(state >> np.uint32(8 * place)) & 0xFF]
    return result


def _mask(checksums: np.ndarray) -> np.ndarray:
    """TFRecord's masking: a rotation and an offset, so that a CRC of CRCs stays sound."""
    rotated = (checksums >> np.uint32(15)) | (checksums << np.uint32(17))
    return rotated + np.uint32(0xA282EAD8)


def _make_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(0x82F63B78)
    return table


def _make_skip() -> np.ndarray:
    """uint32 `[4, 256]`: what each byte of a state becomes after `_CHUNK` zero bytes."""
    state = np.arange(256, dtype=np.uint32) << np.uint32(8) * np.arange(4, dtype=np.uint32)[:, None]
    for _ in range(_CHUNK):
        state = _step(state, np.zeros(1, np.uint8))
    return state


_TABLE = _make_table()
_SKIP = _make_skip()
