"""The datasets as a list of plain values: what `flan datasets` prints. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flan.catalog import splits
from flan.catalog.dataset import Dataset, Source
from flan.catalog.registry import get_datasets
from flan.data.tfds_folder import split_sizes
from flan.templates.load import load_templates


def list_datasets(names: Iterable[str], data_dir: Path | None = None) -> list[dict[str, Any]]:
    """One entry a dataset, ready for JSON.

    Args:
      names: of datasets and clusters; `all` for the 62.
      data_dir: a TFDS folder, whose rows are counted from its own descriptions; None or a
        folder that is not there counts nothing.

    Raises:
      ValueError: an unknown name, a damaged `dataset_info.json`, or a damaged template file.
    """
    return [describe_dataset(dataset, data_dir) for dataset in get_datasets(names)]


def describe_dataset(dataset: Dataset, data_dir: Path | None = None) -> dict[str, Any]:
    """One dataset's entry; as `list_datasets` gives it."""
    try:
        templates = load_templates(dataset.name).templates
    except FileNotFoundError:  # a user's own dataset, still without templates
        templates = ()
    return {
        "dataset": dataset.name,
        "cluster": dataset.cluster,
        "title": dataset.title,
        "task_type": dataset.task_type,
        "metrics": list(dataset.metrics),
        "templates": len(templates),
        "inverted_templates": sum(t.kind == "inverted" for t in templates),
        "sources": [_source(dataset, source, data_dir) for source in dataset.sources],
    }


def _source(dataset: Dataset, source: Source, data_dir: Path | None) -> dict[str, Any]:
    found = split_sizes(data_dir, source) if data_dir else {}
    return {
        "source": source.name,
        "tfds": source.tfds_name,
        "official_rows": dict(source.sizes),
        "official_rows_from": source.sizes_from,
        "official_slices": _slices(dataset, source, source.sizes),
        "on_disk": bool(found),
        "rows": found,
        "slices": _slices(dataset, source, found),
    }


def _slices(dataset: Dataset, source: Source, sizes: Mapping[str, int]) -> dict[str, str]:
    """FLAN's train, dev and test in TFDS notation, from these sizes."""
    plan = splits.plan_source(source, sizes, dataset.dev_size)
    return {name: rows.tfds for name, rows in plan.items() if rows is not None}
