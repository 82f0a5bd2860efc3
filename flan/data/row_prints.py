"""Prints of rows: what recognizes a row, exactly or nearly, without keeping its text.

A row's own print is a hash of its words in order, whatever their case and punctuation. Its
near prints find rows that are nearly the same: MinHash (Broder, "On the resemblance and
containment of documents", 1997) of its words and pairs of words, in bands. Rows that share
90% of these share a band with a probability of 99.9%, 80%: 89%, 50%: 5%, 30%: 0.1%. The last
counts most: an evaluation row meets a million training rows that share a little with it.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flan.catalog.dataset import Fields
from flan.catalog.registry import get_datasets
from flan.data import atomic
from flan.data.cache_keys import Identity, key_of
from flan.data.cache_plan import Request
from flan.data.grams import DOCUMENT_END, Words, grams, mix, pack, whole, words
from flan.data.prepare import ensure_prepared
from flan.data.row_cache import RowCache
from flan.data.rows import SourceReader, UnusableSource

BANDS, _HASHES = 12, 8  # hashes of a band
SHORTEST = 8  # words; nearly the same means nothing below
VERSION = 3  # raised where the same row gets other prints
_MOST = np.uint32(2**32 - 1)
_FACTORS = (mix(np.arange(1, BANDS * _HASHES // 2 + 1, dtype=np.uint64)) | np.uint64(1)).astype(
    np.uint32
)


class Prints(NamedTuple):
    """Prints of rows, in order.

    Attributes:
      rows: uint64 `[n]`, 0 for a row without a word.
      near: uint64 `[n, BANDS]`, 0 for rows too short to be nearly the same as another.
    """

    rows: np.ndarray
    near: np.ndarray


def text_of(fields: Fields) -> str:
    """What a row says: its fields, one after the other, without the answer."""
    return "\n".join(fields.values.values())


def prints_of(texts: Iterable[str]) -> Prints:
    """The prints of texts, a block of them at a time."""
    found = [_of_block(block) for block in pack(texts)]
    rows = [np.zeros(0, np.uint64), *(p.rows for p in found)]
    near = [np.zeros((0, BANDS), np.uint64), *(p.near for p in found)]
    return Prints(np.concatenate(rows), np.concatenate(near))


class SourcePrints(NamedTuple):
    """The train rows of a source.

    Attributes:
      dataset: whose source it is.
      identity: what decides the rows, see `cache_keys.rows_identity`.
      found: rows before the filters; they have the numbers from 0 on.
      ids: int64 `[n]`, each row's number in its TFDS split.
      prints: theirs.
    """

    dataset: str
    identity: Identity
    found: int
    ids: np.ndarray
    prints: Prints


def train_prints(request: Request, stream: bool = False) -> Iterator[SourcePrints]:
    """The prints of all train rows of a request, source by source.

    They are taken once and kept beside the caches.

    Args:
      request: which rows.
      stream: read them in the data folder, if there is one, and prepare no row cache.

    Raises what `ensure_prepared` raises.
    """
    request = dataclasses.replace(request, splits=("train",), vocabulary=None)
    folder = request.cache_dir / "prints"
    if not stream or request.data_dir is None:
        for (name, _, _), path in ensure_prepared(request).rows.items():
            cache = RowCache.open(path)
            rows = zip(cache.row_ids.tolist(), cache, strict=True)
            identity, found = cache.manifest["identity"], cache.manifest["found"]
            yield _kept(name, identity, found, rows, folder)
        return
    for dataset in get_datasets(request.datasets):
        for source in dataset.sources:
            if source.train is None:
                continue
            try:
                reader = SourceReader(request.data_dir, dataset, source, request.cap)
            except UnusableSource:
                if request.skip_missing:
                    continue
                raise
            if (piece := reader.plan["train"]) is not None:
                identity = reader.identity("train")
                yield _kept(dataset.name, identity, len(piece), reader.fields("train"), folder)


def _kept(
    dataset: str,
    identity: Identity,
    found: int,
    rows: Iterable[tuple[int, Fields | None]],
    folder: Path,
) -> SourcePrints:
    """From the file of the identity where it is sound, else taken of the rows."""
    path = folder / f"{key_of(identity)}-{VERSION}.npy"
    try:
        stored = np.load(path, allow_pickle=False)
        if stored.dtype == np.uint64 and stored.ndim == 2 and stored.shape[1] == 2 + BANDS:
            return SourcePrints(
                dataset,
                identity,
                found,
                stored[:, 0].astype(np.int64),
                Prints(stored[:, 1], stored[:, 2:]),
            )
    except (OSError, ValueError, EOFError):
        pass  # not there, or damaged
    ids: list[int] = []

    def texts() -> Iterator[str]:
        for row_id, fields in rows:
            if fields is not None:
                ids.append(row_id)
                yield text_of(fields)

    prints = prints_of(texts())
    numbers = np.array(ids, np.int64)
    content = io.BytesIO()
    np.save(content, np.column_stack([numbers.astype(np.uint64), prints.rows, prints.near]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, content.getvalue())
    except OSError as error:
        if error.errno not in atomic.READ_ONLY:  # shared caches: they are taken anew next time
            raise
    return SourcePrints(dataset, identity, found, numbers, prints)


def _of_block(block: bytes) -> Prints:
    found = words(block)
    count = block.count(DOCUMENT_END) + 1
    near = np.zeros((count, BANDS), np.uint64)
    long = np.flatnonzero(np.bincount(found.documents, minlength=count) >= SHORTEST)
    if len(long):
        near[long] = _near(found, long)
    return Prints(whole(found, count), near)


def _near(found: Words, documents: np.ndarray) -> np.ndarray:
    """uint64 `[documents, BANDS]` of documents of `SHORTEST` words or more."""
    pairs, places = grams(found, 2)
    parts = []
    for hashes, of in ((found.hashes, found.documents), (pairs, found.documents[places])):
        # Every second piece is one of the documents; those between are too short.
        starts, ends = np.searchsorted(of, documents), np.searchsorted(of, documents, "right")
        borders = np.stack([starts, ends], axis=1).reshape(-1)
        # Each half of a hash is a hash, which odd factors permute.
        halves = [hashes.astype(np.uint32), (hashes >> np.uint64(32)).astype(np.uint32)]
        parts.append(([np.append(half, np.uint32(0)) for half in halves], borders))
    bands = np.zeros((len(documents), BANDS), np.uint64)
    for i, factor in enumerate(_FACTORS):
        for half in (0, 1):
            least = np.full(len(documents), _MOST)
            for halves, borders in parts:
                product = halves[half] * factor
                product[-1] = _MOST
                np.minimum(least, np.minimum.reduceat(product, borders)[::2], out=least)
            band = (2 * i + half) // _HASHES
            bands[:, band] = mix(bands[:, band] + least)
    # Bands are kept apart: the same hashes in another band are no match.
    return mix(bands + np.arange(1, BANDS + 1, dtype=np.uint64)) | np.uint64(1)
