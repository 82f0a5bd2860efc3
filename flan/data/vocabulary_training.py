"""A vocabulary from the datasets' own text: their training rows, through their templates."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from flan.catalog.registry import get_dataset
from flan.data.cache_plan import Request
from flan.data.phrasing import Phraser
from flan.data.prepare import Prepared, ensure_prepared
from flan.data.row_cache import RowCache
from flan.data.vocabulary import DEFAULT_SIZE, train_sentencepiece

log = logging.getLogger("flan")

# BPE statistics settle long before this; sentencepiece holds its text in memory.
MAX_CHARACTERS = 200_000_000
_VERSION = 2


def training_texts(prepared: Prepared, characters: int = MAX_CHARACTERS) -> Iterator[str]:
    """Inputs and targets of training rows, each through one of its templates.

    Every source may give the same share of `characters`, so that no language and no kind
    of text is left out where there is more than enough.
    """
    caches = [(key, path) for key, path in prepared.rows.items() if key[2] == "train"]
    for (name, source, _), path in caches:
        phraser = Phraser(get_dataset(name))
        rows = RowCache.open(path)
        left = characters // len(caches)
        for place, row_id in enumerate(rows.row_ids):
            if left <= 0:
                break
            _, rendered = phraser.phrase(rows.fields(place), source, int(row_id), 0)
            yield rendered.input
            yield rendered.target
            left -= len(rendered.input) + len(rendered.target)


def ensure_vocabulary(
    datasets: Sequence[str],
    cache_dir: Path,
    data_dir: Path | None,
    vocab_size: int = DEFAULT_SIZE,
    skip_missing: bool = False,
) -> Path:
    """The vocabulary of some datasets' training rows, trained once and kept in the cache folder.

    The same rows, templates and size give the same vocabulary. Where there is too little
    text for `vocab_size`, the largest vocabulary that it supports is made.

    Args:
      datasets: names of datasets and clusters.
      cache_dir: where caches lie.
      data_dir: the TFDS folder, or None for cached rows only.
      vocab_size: pieces, special ones and bytes included.
      skip_missing: leave out sources that are not there.

    Raises:
      What `ensure_prepared` raises; ValueError for rows without text.
    """
    request = Request(
        tuple(datasets), cache_dir, data_dir, splits=("train",), skip_missing=skip_missing
    )
    prepared = ensure_prepared(request)
    identity = [
        _VERSION,
        vocab_size,
        sorted(path.name for path in prepared.rows.values()),
        [Phraser(get_dataset(name)).identity() for name in sorted({k[0] for k in prepared.rows})],
    ]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / "vocabularies" / f"bpe-{vocab_size}-{key}"
    if folder.is_dir():
        return folder
    log.info("training a vocabulary of %d pieces, once: %s", vocab_size, folder)
    train_sentencepiece(training_texts(prepared), folder, vocab_size, shrink=True)
    return folder
