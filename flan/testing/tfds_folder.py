"""A TFDS folder that describes datasets and holds no rows, written without TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Source
from flan.data.doctor import expected_spec
from flan.data.tfds_folder import FEATURES_FILE, INFO_FILE, Spec, source_path


def write_description(
    data_dir: Path, source: Source, sizes: Mapping[str, int], spec: Spec | None = None
) -> Path:
    """Writes what TFDS writes beside the rows of a source, and one empty shard a split.

    Args:
      data_dir: the TFDS folder.
      source: which one.
      sizes: rows that each split claims to have.
      spec: its features; those that the catalog expects by default.

    Returns:
      The version folder.
    """
    path = source_path(data_dir, source)
    path.mkdir(parents=True)
    name = source.tfds.partition("/")[0]
    splits = [
        {
            "name": split,
            "shardLengths": [str(rows)],
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        for split, rows in sizes.items()
    ]
    info = {"name": name, "version": source.version, "fileFormat": "tfrecord", "splits": splits}
    (path / INFO_FILE).write_text(json.dumps(info), encoding="utf-8")
    for split in sizes:
        (path / f"{name}-{split}.tfrecord-00000-of-00001").touch()
    features: dict[str, Any] = {}
    stated = expected_spec(source.tfds) if spec is None else spec
    for feature, kind in (stated or {}).items():
        _place(features, feature.split("/"), kind)
        if isinstance(kind, list):
            labels = path / f"{feature.replace('[]', '').replace('/', '-')}.labels.txt"
            labels.write_text("\n".join(kind) + "\n", encoding="utf-8")
    content = {"featuresDict": {"features": features}}
    (path / FEATURES_FILE).write_text(json.dumps(content), encoding="utf-8")
    return path


def _place(features: dict[str, Any], parts: list[str], kind: str | list[str]) -> None:
    """Adds the feature at a path ("choices[]", "label") to nested dicts as TFDS has them."""
    name, *rest = parts
    key, sequence = name.removesuffix("[]"), name.endswith("[]")
    feature: dict[str, Any]
    if rest:
        inner = features.setdefault(key, {"sequence": {"feature": {}}} if sequence else {})
        target = inner["sequence"]["feature"] if sequence else inner
        children = target.setdefault("featuresDict", {"features": {}})["features"]
        _place(children, rest, kind)
        return
    if isinstance(kind, list):
        feature = {"classLabel": {"numClasses": str(len(kind))}}
    elif kind == "string":
        feature = {"text": {}}
    else:
        feature = {"tensor": {"dtype": kind, "shape": {}}}
    features[key] = {"sequence": {"feature": feature}} if sequence else feature
