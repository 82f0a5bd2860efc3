"""Default folders, the same for every command."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir(given: str | Path | None = None) -> Path | None:
    """The TFDS folder: as given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets if it is there."""
    named = given or os.environ.get("TFDS_DATA_DIR")
    if named:
        return Path(named).expanduser()
    usual = Path("~/tensorflow_datasets").expanduser()
    return usual if usual.is_dir() else None


def cache_dir(given: str | Path | None = None) -> Path:
    """The cache folder: as given, else $FLAN_CACHE_DIR, else ~/.cache/flan."""
    return Path(given or os.environ.get("FLAN_CACHE_DIR") or "~/.cache/flan").expanduser()
