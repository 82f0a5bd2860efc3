"""Default folders, the same for every command."""

from __future__ import annotations

import os
from pathlib import Path


def usual_data_dir() -> Path:
    """Where TFDS keeps data unless told otherwise: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def data_dir(given: str | Path | None = None) -> Path | None:
    """The TFDS folder: as given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets if it is there."""
    if given or os.environ.get("TFDS_DATA_DIR"):
        return Path(given).expanduser() if given else usual_data_dir()
    return usual_data_dir() if usual_data_dir().is_dir() else None


def cache_dir(given: str | Path | None = None) -> Path:
    """The cache folder: as given, else $FLAN_CACHE_DIR, else ~/.cache/flan."""
    return Path(given or os.environ.get("FLAN_CACHE_DIR") or "~/.cache/flan").expanduser()
