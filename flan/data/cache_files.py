"""Reading a cache's files with suspicion: they may be cut off, swapped or not ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

MANIFEST = "manifest.json"


def read_manifest(path: Path, expected_format: str) -> dict[str, Any]:
    """A cache's manifest.

    Raises:
      FileNotFoundError: no such folder, or one that was never finished.
      ValueError: not JSON, or of another format.
    """
    if not (path / MANIFEST).is_file():
        state = "has no manifest, so it was never finished" if path.is_dir() else "is not there"
        raise FileNotFoundError(f"the cache {path} {state}: run `flan prepare`")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path / MANIFEST}: not JSON: {error}") from error
    found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
    if found != expected_format:
        raise ValueError(
            f"{path / MANIFEST}: format {found!r}, expected {expected_format!r}: not such a cache, "
            "or one of another version of flan; delete it and run `flan prepare`"
        )
    return manifest


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a folder, for its manifest."""
    return {p.name: p.stat().st_size for p in sorted(folder.iterdir())}


def check_files(path: Path, manifest: dict[str, Any], names: Iterable[str]) -> None:
    """Compares files with the manifest; ValueError for one missing or of another size."""
    stated = manifest.get("files")
    for name in names:
        wanted = stated.get(name) if isinstance(stated, dict) else None
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if wanted is None or size != wanted:
            found = "is missing" if size is None else f"has {size} bytes"
            raise ValueError(
                f"{file} {found}, the manifest says {wanted}: the cache was cut off or changed; "
                f"delete {path} and run `flan prepare`"
            )


def read_array(path: Path, dtype: DTypeLike, mapped: bool = False) -> np.ndarray:
    """A one-dimensional array of a type out of an .npy file; ValueError for any other content.

    A `mapped` one is read from disk where it is touched.
    """
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not an array file: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != np.dtype(dtype):
        found = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else "none"
        raise ValueError(f"{path}: expected an array of {np.dtype(dtype)}, found {found}")
    return array
