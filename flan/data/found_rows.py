"""Finds a source's row caches without the data folder that they were made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Dataset, Source
from flan.catalog.splits import SPLITS
from flan.data.cache_files import read_manifest, stated_format
from flan.data.cache_keys import ROWS_VERSION, to_fields_key
from flan.data.row_cache import KIND
from flan.data.rows import UnusableSource

_Found = dict[Path, dict[str, Any]]  # folder -> manifest


def find_cached_rows(
    cache_dir: Path,
    dataset: Dataset,
    source: Source,
    splits: Iterable[str],
    cap: int,
    *,
    needs_train: bool,
) -> dict[str, tuple[Path, int]]:
    """Split -> row cache, and the rows found in it, from whatever data, if from one only.

    Args:
      cache_dir: where caches lie.
      dataset, source: whose rows.
      splits: those wanted; what is not cached is left out.
      cap: rows of the train split at most.
      needs_train: whether to refuse a source without its train rows, where it can have them.

    Raises:
      UnusableSource: nothing is cached, or of several data or caps.
      ValueError: a cache lies in the place of another.
    """
    rows: dict[str, _Found] = {}
    for split in sorted(splits, key=SPLITS.index):
        found = _caches(cache_dir, dataset, source, split)
        if split == "train":
            found = _of_cap(cache_dir, source, found, cap)
        if found:
            rows[split] = found
    lacks_train = source.train is not None and "train" in splits and "train" not in rows
    if not rows or (needs_train and lacks_train):
        raise UnusableSource(
            f"{dataset.name}: no rows of {source.tfds_name} are cached in {cache_dir}; give the "
            "folder with the TFDS data (--data_dir), so that they can be prepared"
        )
    data = {m["identity"].get("data") for found in rows.values() for m in found.values()}
    if len(data) > 1 or any(len(found) > 1 for found in rows.values()):
        raise UnusableSource(
            f"{dataset.name}: several caches of {source.tfds_name} are in {cache_dir}; say which "
            "data are meant (--data_dir)"
        )
    return {s: (path, m["found"]) for s, found in rows.items() for path, m in found.items()}


def _caches(cache_dir: Path, dataset: Dataset, source: Source, split: str) -> _Found:
    """Those that this version of the dataset's code made."""
    wanted = {
        "version": ROWS_VERSION,
        "split": split,
        "tfds": source.tfds_name,
        "to_fields_version": dataset.version,
        "to_fields": to_fields_key(dataset),
    }
    found = {}
    for path in sorted((cache_dir / "rows" / dataset.name).glob(f"{source.name}-{split}-*")):
        if stated_format(path) == KIND.format:  # older versions of flan left others
            manifest = read_manifest(path, KIND)
            if wanted.items() <= manifest["identity"].items():
                found[path] = manifest
    return found


def _of_cap(cache_dir: Path, source: Source, found: _Found, cap: int) -> _Found:
    """The caches of train rows that are as long as the cap makes them."""
    right = {p: m for p, m in found.items() if m["found"] == min(cap, m["available"])}
    if found and not right:
        sizes = sorted({m["found"] for m in found.values()})
        raise UnusableSource(
            f"{source.tfds_name}: the cap is {cap} training rows, and cached in {cache_dir} are the "
            f"first {' or '.join(map(str, sizes))}; give the folder with the TFDS data (--data_dir), "
            f"or a cap of {sizes[-1]}"
        )
    return right
