"""Default folders, the same for every command."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SCHEME = re.compile(r"\w[\w+.-]+:/")  # pathlib makes gs://bucket into gs:/bucket


def usual_data_dir() -> Path:
    """Where TFDS keeps data unless told otherwise: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    return local(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def data_dir(given: str | Path | None = None) -> Path | None:
    """The TFDS folder: as given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets if it is there."""
    if given or os.environ.get("TFDS_DATA_DIR"):
        return local(given) if given else usual_data_dir()
    return usual_data_dir() if usual_data_dir().is_dir() else None


def cache_dir(given: str | Path | None = None) -> Path:
    """The cache folder: as given, else $FLAN_CACHE_DIR, else ~/.cache/flan."""
    return local(given or os.environ.get("FLAN_CACHE_DIR") or "~/.cache/flan")


def local(given: str | Path) -> Path:
    """A folder or file of the file system; ValueError for an address such as `gs://bucket/data`.

    Caches are memory-mapped, locked and put in place by renaming, which buckets do not offer.
    """
    if _SCHEME.match(str(given)):
        raise ValueError(
            f"{given} is an address, and flan reads and writes folders: mount the bucket or share "
            "(Cloud Storage FUSE, NFS, Lustre, ...) and give the path where it is mounted"
        )
    return Path(given).expanduser()
