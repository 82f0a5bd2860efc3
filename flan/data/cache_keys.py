"""What a cache's content depends on, hashed into its name: a stale cache cannot be found.

An identity is a JSON object with everything that decides the content; its SHA-256 is the
key. Changing one template changes the keys of that dataset's token caches and of no other.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Dataset, Source
from flan.catalog.splits import Slice
from flan.data.code_fingerprint import UnknownCode, code_fingerprint

Identity = dict[str, Any]
# Raise these when the code that writes a cache changes what it writes.
ROWS_VERSION = 2
TOKENS_VERSION = 1


def key_of(identity: Identity) -> str:
    """SHA-256 in hex of an identity."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def cache_folder(cache_dir: Path, kind: str, identity: Identity) -> Path:
    """`<cache_dir>/<kind>/<dataset>/<source>-<split>-<16 digits of the key>`."""
    name = f"{identity['source']}-{identity['split']}-{key_of(identity)[:16]}"
    return cache_dir / kind / identity["dataset"] / name


def rows_identity(
    dataset: Dataset, source: Source, split: str, piece: Slice, data_fingerprint: str
) -> Identity:
    """What decides the fields of a source's split.

    Args:
      piece: which TFDS rows the split is.
      data_fingerprint: names the TFDS folder's content.
    """
    return {
        "version": ROWS_VERSION,
        "dataset": dataset.name,
        "source": source.name,
        "split": split,
        "tfds": source.tfds_name,
        "slice": piece.tfds,
        "data": data_fingerprint,
        "to_fields_version": dataset.version,
        "to_fields": to_fields_key(dataset),
    }


def to_fields_key(dataset: Dataset) -> str:
    """Names the code that makes a dataset's fields.

    Raises ValueError where only the user can say whether the code is the same.
    """
    try:
        return code_fingerprint(dataset.to_fields)
    except UnknownCode as error:
        if dataset.version > 1:
            return "by version"
        raise ValueError(
            f"{dataset.name}: whether its rows must be prepared again cannot be told from the code "
            f"of to_fields: {error}. Give Dataset(version=2), and raise it with each change of what "
            "to_fields returns"
        ) from error
