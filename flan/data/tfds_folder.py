"""Reads what a TFDS data folder says of itself: versions, split sizes, features. No TensorFlow.

`<data_dir>/<builder>/<config>/<version>/` has `dataset_info.json`, `features.json` and, for
each class label, `<feature>.labels.txt`. The files may come from anywhere, so each is
checked while it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Source

# A feature path ("choices[]/label") -> its type ("string", "int32[2]"), or its class names.
Spec = dict[str, str | list[str]]

INFO_FILE, FEATURES_FILE = "dataset_info.json", "features.json"
_COUNT = re.compile(r"[0-9]{1,18}")  # rows of a shard
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_MAX_DEPTH = 8
_READ_WHOLE, _READ_OF_ENDS = 1 << 20, 1 << 16  # bytes of a shard that its fingerprint reads


@dataclasses.dataclass(frozen=True)
class PreparedSource:
    """A TFDS version folder that is there.

    Attributes:
      path: the folder.
      sizes: rows of each split.
      missing_files: files that a split lists and that are not there.
      shards: the files of each split in order, with the rows that each should have.
    """

    path: Path
    sizes: dict[str, int]
    missing_files: tuple[str, ...] = ()
    shards: dict[str, tuple[tuple[str, int], ...]] = dataclasses.field(default_factory=dict)

    def fingerprint(self, splits: Iterable[str]) -> str:
        """SHA-256 in hex of what some splits hold, the same for each copy of the folder.

        Descriptions and small shards count whole, larger ones by size, head and tail: a
        dataset that is prepared again differs there, and 10 GB need not be read at each start.
        """
        paths = [self.path / INFO_FILE, self.path / FEATURES_FILE]
        paths += sorted(self.path.glob("*.labels.txt"))
        shards = {file for split in splits for file, _ in self.shards.get(split, ())}
        content = hashlib.sha256()
        for path in [*paths, *(self.path / name for name in sorted(shards))]:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                content.update(json.dumps([path.name, size]).encode())
                if size <= _READ_WHOLE:
                    content.update(file.read())
                else:
                    content.update(file.read(_READ_OF_ENDS))
                    file.seek(-_READ_OF_ENDS, os.SEEK_END)
                    content.update(file.read())
        return content.hexdigest()


def source_path(data_dir: Path, source: Source) -> Path:
    """Where a source of that version belongs."""
    return data_dir / source.tfds / source.version


def versions_found(data_dir: Path, source: Source) -> list[str]:
    """Versions of the source's config that are prepared in the folder, sorted."""
    folder = data_dir / source.tfds
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if _VERSION.fullmatch(entry.name) and (entry / INFO_FILE).is_file()
    )


def read_source(data_dir: Path, source: Source) -> PreparedSource | None:
    """The source's version folder; None where it is not there.

    Raises ValueError for a folder whose `dataset_info.json` is not one.
    """
    path = source_path(data_dir, source)
    if not (path / INFO_FILE).is_file():
        return None
    info = read_json(path / INFO_FILE)
    splits = info.get("splits")
    if not isinstance(splits, list):
        raise ValueError(f"{path / INFO_FILE}: lists no splits")
    sizes: dict[str, int] = {}
    missing: list[str] = []
    shards: dict[str, tuple[tuple[str, int], ...]] = {}
    for split in splits:
        name, rows, files = _split(path, info, split)
        if name in sizes:
            raise ValueError(f"{path / INFO_FILE}: lists split {name!r} twice")
        sizes[name] = sum(rows)
        missing += [file for file in files if not (path / file).is_file()]
        shards[name] = tuple(zip(files, rows, strict=False))
    return PreparedSource(path, sizes, tuple(missing), shards)


def split_sizes(data_dir: Path, source: Source) -> dict[str, int]:
    """Rows of each split on disk; {} for a source that is not there."""
    prepared = read_source(data_dir, source)
    return prepared.sizes if prepared else {}


def _split(path: Path, info: dict[str, Any], split: Any) -> tuple[str, list[int], list[str]]:
    name = split.get("name") if isinstance(split, dict) else split
    if not isinstance(split, dict) or not isinstance(name, str):
        raise ValueError(f"{path / INFO_FILE}: split {name!r} is not as TFDS writes it")
    template = split.get("filepathTemplate", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")
    lengths = split.get("shardLengths", [])
    # Protocol buffers print 64-bit numbers as strings.
    if (
        not isinstance(template, str)
        or not isinstance(lengths, list)
        or not all(_COUNT.fullmatch(str(count)) for count in lengths)
    ):
        raise ValueError(
            f"{path / INFO_FILE}: split {name!r} is not as TFDS writes it: shardLengths "
            f"{str(lengths)[:80]}, expected a list of row counts"
        )
    if not lengths and ("statistics" in split or "numShards" in split):
        raise ValueError(
            f"{path / INFO_FILE}: split {name!r} has no shardLengths, so an old version of TFDS "
            "wrote it"
        )
    shards = [int(count) for count in lengths]
    known = {
        "{DATASET}": str(info.get("name")),
        "{SPLIT}": name,
        "{FILEFORMAT}": str(info.get("fileFormat", "tfrecord")),
    }
    files = []
    for shard in range(len(shards)):
        index, of = f"{shard:05d}", f"{len(shards):05d}"
        known |= {"{SHARD_X_OF_Y}": f"{index}-of-{of}", "{SHARD_INDEX}": index, "{NUM_SHARDS}": of}
        file = template
        for hole, value in known.items():
            file = file.replace(hole, value)
        # A naming of its own is not held against a folder.
        if not re.search(r"[{}/\\]", file):
            files.append(file)
    return name, shards, files


def read_spec(path: Path) -> Spec:
    """The features of a version folder.

    Raises ValueError where `features.json` is missing or not as TFDS writes it.
    """
    if not (path / FEATURES_FILE).is_file():
        raise ValueError(
            f"{path} has no {FEATURES_FILE}: TFDS wrote it in an old form, prepare it again"
        )
    spec: Spec = {}
    try:
        _flatten(read_json(path / FEATURES_FILE), "", path, spec, 0)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path / FEATURES_FILE}: not as TFDS writes it: {error}") from None
    return dict(sorted(spec.items()))


def _flatten(feature: dict[str, Any], name: str, folder: Path, spec: Spec, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"features nest deeper than {_MAX_DEPTH}")
    if "featuresDict" in feature:
        for key, inner in feature["featuresDict"]["features"].items():
            _flatten(inner, f"{name}/{key}".lstrip("/"), folder, spec, depth + 1)
    elif "sequence" in feature or "dataset" in feature:
        inner = (feature.get("sequence") or feature["dataset"])["feature"]
        _flatten(inner, f"{name}[]", folder, spec, depth + 1)
    elif "translation" in feature:
        for language in feature["translation"]["languages"]:
            spec[f"{name}/{language}".lstrip("/")] = "string"
    elif "text" in feature:
        spec[name] = "string"
    elif "classLabel" in feature:
        # No slash is left in the name, so it cannot lead out of the folder.
        labels = folder / f"{name.replace('[]', '').replace('/', '-')}.labels.txt"
        if labels.is_file():
            spec[name] = [
                line.strip() for line in labels.read_text("utf-8").split("\n") if line.strip()
            ]
        else:
            spec[name] = f"ClassLabel({feature['classLabel']['numClasses']})"
    elif "tensor" in feature:
        shape = feature["tensor"].get("shape", {}).get("dimensions", [])
        dims = "".join(f"[{'' if int(d) < 0 else d}]" for d in shape)
        spec[name] = str(feature["tensor"]["dtype"]) + dims
    else:
        kind = str(feature.get("pythonClassName", "unknown")).rpartition(".")[2]
        spec[name] = kind


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object out of a file; ValueError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
