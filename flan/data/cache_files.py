"""Reading a cache's files with suspicion: they may be cut off, swapped or not ours."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from flan.data.cache_keys import key_of

MANIFEST = "manifest.json"
_KEY = re.compile(r"-([0-9a-f]{16})$")  # ends the names that `cache_keys.cache_folder` gives
# Files that this process has hashed already: path, size, time of change, checksum.
_verified: set[tuple[Path, int, int, str]] = set()


class Kind(NamedTuple):
    """A kind of cache: the format that its manifest states, and the counts that it must have."""

    format: str
    counts: tuple[str, ...]


def is_complete(path: Path, kind: Kind) -> bool:
    """Whether a finished cache lies there.

    One without a manifest, or with half of one, was interrupted and is to be made again.
    Raises ValueError for a finished one that is not what its name says.
    """
    if stated_format(path) is None:
        return False
    read_manifest(path, kind)
    return True


def stated_format(path: Path) -> str | None:
    """The format in a folder's manifest; None where there is none that can be read."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    return str(manifest.get("format")) if isinstance(manifest, dict) else None


def read_manifest(path: Path, kind: Kind) -> dict[str, Any]:
    """A cache's manifest.

    Raises:
      FileNotFoundError: no such folder, or one that was never finished.
      ValueError: not JSON, of another format, or of a cache that belongs elsewhere.
    """
    if not (path / MANIFEST).is_file():
        state = "has no manifest, so it was never finished" if path.is_dir() else "is not there"
        raise FileNotFoundError(f"the cache {path} {state}: run `flan prepare`")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path / MANIFEST}: not JSON: {error}") from error
    found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
    if found != kind.format:
        raise ValueError(
            f"{path / MANIFEST}: format {found!r}, expected {kind.format!r}: not such a cache, "
            f"or one of another version of flan; delete {path} and run `flan prepare`"
        )
    identity, key = manifest.get("identity"), manifest.get("key")
    named = _KEY.search(path.name)
    is_sound = isinstance(identity, dict) and key == key_of(identity)
    if not is_sound or (named and named[1] != key[:16]):
        raise ValueError(
            f"{path}: its manifest is of another cache (key {str(key)[:16]}): the folder was "
            "renamed, copied or changed; delete it and run `flan prepare`"
        )
    wrong = [c for c in kind.counts if type(manifest.get(c)) is not int or manifest[c] < 0]
    if wrong:
        raise ValueError(
            f"{path / MANIFEST}: lacks its counts {wrong}; delete {path} and run `flan prepare`"
        )
    return manifest


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a folder, for its manifest."""
    return {p.name: p.stat().st_size for p in sorted(folder.iterdir())}


def file_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, for its manifest."""
    return {p.name: _checksum(p) for p in sorted(folder.iterdir())}


def check_files(path: Path, manifest: dict[str, Any], names: Iterable[str]) -> None:
    """Compares files with the manifest; ValueError for one missing, of another size or content.

    Checksums take 0.8 s of a core a GB, so a process works out each file's once.
    """
    stated, checksums = manifest.get("files"), manifest.get("sha256")
    for name in names:
        wanted = stated.get(name) if isinstance(stated, dict) else None
        file = path / name
        found = file.stat() if file.is_file() else None
        size = found.st_size if found else None
        if wanted is None or size != wanted:
            state = "is missing" if size is None else f"has {size} bytes"
            raise ValueError(
                f"{file} {state}, the manifest says {wanted}: the cache was cut off or changed; "
                f"delete {path} and run `flan prepare`"
            )
        checksum = checksums.get(name) if isinstance(checksums, dict) else None
        assert found
        seen = (file.absolute(), found.st_size, found.st_mtime_ns, str(checksum))
        if seen in _verified:
            continue
        if _checksum(file) != checksum:
            raise ValueError(
                f"{file}: the content changed since it was written; delete {path} and run "
                "`flan prepare`"
            )
        _verified.add(seen)


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


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
