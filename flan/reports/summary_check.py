"""Checks a `summary.json`, which may come from anywhere, before a report reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flan.evaluation.summary import FORMAT

# Scores are on a scale of 0 to 100, counts below what a float holds exactly.
_MOST = 2**53


def check_summary(value: Any) -> None:
    """Checks all that a report reads of a summary; ValueError saying what is wrong."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ValueError(f"not a summary of format {FORMAT!r}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it has text that no file can hold: {error.reason}") from None
    for checkpoint in _objects(value, "checkpoints"):
        step = checkpoint.get("step")
        if step is not None:
            _whole("step", step)
        _texts(checkpoint.get("unknown", []))
        for mode in _objects(checkpoint, "modes"):
            for dataset in _objects(mode, "datasets"):
                _check_dataset(dataset)


def _check_dataset(dataset: Mapping[str, Any]) -> None:
    if not all(isinstance(dataset.get(key), str) for key in ("cluster", "main_metric")):
        raise ValueError("a dataset lacks its cluster or main metric")
    for split in _objects(dataset, "splits"):
        _whole("rows", split.get("rows"))
        templates = split.get("templates")
        if not isinstance(templates, dict):
            raise ValueError("a split lacks its templates")
        _numbers(templates.values())
        if missing := [name for name in ("mean", "std") if name not in split]:
            raise ValueError(f"a split lacks its {' and '.join(missing)}")
        # Those of no template, or of one.
        _numbers(v for v in (split["mean"], split["std"]) if v is not None)
        interval = split.get("interval")
        if interval is not None:
            if not isinstance(interval, list) or len(interval) != 2:
                raise ValueError(f"an interval must be two numbers, got {interval!r}")
            _numbers(interval)
    _check_training(dataset.get("training", {}))
    if "best_dev" not in dataset:
        raise ValueError("a dataset lacks its best_dev (null where no template could be chosen)")
    best = dataset["best_dev"]
    if best is not None:
        if not isinstance(best, dict) or not isinstance(best.get("template"), str):
            raise ValueError("best_dev must be an object that names its template")
        _numbers([best.get("test")])
        if best.get("chosen_again") is not None:
            _numbers([best["chosen_again"]])


def _check_training(training: Any) -> None:
    if not isinstance(training, dict) or not isinstance(training.get("status", ""), str):
        raise ValueError("training must be an object with a status")
    _texts(training.get("because", []))
    for counts in _objects({"rows": {}, **training}, "rows"):
        _numbers(counts.get(kind) for kind in ("rows", "exact", "near"))


def _texts(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"expected a list of texts, got {value!r}")


def _objects(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    content = value.get(name)
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"{name} must be an object of objects")
    return list(content.values())


def _numbers(values: Iterable[Any]) -> None:
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < _MOST:  # nor NaN
            raise ValueError(f"scores must be finite numbers, got {value!r}")


def _whole(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise ValueError(f"{name} must be a whole number, got {value!r}")
