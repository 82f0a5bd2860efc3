"""Datasets by name. A cluster's module is imported when one of its datasets is asked for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from flan.catalog import clusters
from flan.catalog.dataset import Dataset, Fields, Row
from flan.suggest import unknown_name

_DATASETS: dict[str, Dataset] = {}

ToFields = Callable[[Row], Fields | None]


def register(**entry: Any) -> Callable[[ToFields], ToFields]:
    """Decorates `to_fields` and registers the dataset described by the keywords.

    Takes `Dataset`'s attributes other than `to_fields` and `description` (which is the
    function's docstring). Works the same for a user's own datasets; raises ValueError
    when the name is taken.
    """

    def decorate(to_fields: ToFields) -> ToFields:
        entry_description = inspect.getdoc(to_fields) or ""
        dataset = Dataset(to_fields=to_fields, description=entry_description, **entry)
        if dataset.name in _DATASETS:
            raise ValueError(f"dataset {dataset.name!r} is already registered")
        _DATASETS[dataset.name] = dataset
        return to_fields

    return decorate


def get_dataset(name: str) -> Dataset:
    """The dataset of that name; ValueError with near names when there is none."""
    if name not in _DATASETS:
        try:
            cluster = clusters.cluster_of(name)
        except ValueError:
            known = [*clusters.all_datasets(), *clusters.EXTRA, *_DATASETS]
            raise ValueError(unknown_name("dataset", name, dict.fromkeys(known))) from None
        importlib.import_module(f"flan.catalog.{cluster}")
    return _DATASETS[name]


def get_datasets(names: Iterable[str]) -> list[Dataset]:
    """Datasets for a list of dataset and cluster names, in order, each once."""
    found: dict[str, Dataset] = {}
    for name in names:
        for one in (name,) if name in _DATASETS else clusters.expand([name]):
            found[one] = get_dataset(one)
    return list(found.values())
