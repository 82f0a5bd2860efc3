"""The results of an experiment's runs, lined up by what sets the runs apart.

Leave-one-out trains a model for each cluster, and each is scored on its own cluster; side by
side these are one column, "tuned": what tuning gives on clusters that it never saw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.experiments.graph import RESULTS, RUNS
from flan.experiments.runs import RunSpec
from flan.experiments.state import EXPERIMENT_FILE, Record, is_outdated, read_record
from flan.reports.comparison import Column, Comparison, Datasets, columns_of, line_up

TUNED = "tuned"


def is_experiment(folder: Path) -> bool:
    """Whether a folder is one that `flan launch` made."""
    return (folder / EXPERIMENT_FILE).is_file()


def compare_runs(folder: Path, split: str = "test") -> Comparison:
    """Compares an experiment's runs, those that differ in the held-out cluster alone as one.

    Raises:
      FileNotFoundError: no experiment, or no results yet.
      ValueError: a damaged file, an unknown split, nothing to show.
    """
    record = current_record(folder)
    found = columns_of(folder / RESULTS)
    merged: dict[Column, dict[str, Mapping[str, Any]]] = {}
    unknown = {(column.label, column.mode): column.unknown for column in found}
    for run in record.runs:
        for mode in run.modes:
            datasets = _of_run(found, run, mode)
            if datasets:
                column = Column(series(run), mode, unknown=unknown[run.name, mode])
                merged.setdefault(column, {}).update(datasets)
    if not merged:
        raise FileNotFoundError(f"{folder} has no results yet: `flan status {folder}`")
    evaluated = {e["cluster"] for datasets in merged.values() for e in datasets.values()}
    held_out = [
        c for c in dict.fromkeys(c for r in record.runs for c in r.held_out) if c in evaluated
    ]
    return line_up(merged, split=split, held_out=held_out)


def current_record(folder: Path) -> Record:
    """The experiment without the runs whose scores were made with other settings than its record's."""
    record = read_record(folder)
    outdated = outdated_runs(folder, record)
    runs = tuple(run for run in record.runs if run.name not in outdated)
    return dataclasses.replace(record, runs=runs)


def outdated_runs(folder: Path, record: Record) -> list[str]:
    """Names of the runs whose evaluation was made with other settings, or of another model."""
    return [
        job.name.removesuffix("/eval")
        for job in record.jobs
        if job.name.endswith("/eval") and is_outdated(folder, job)
    ]


def series(run: RunSpec) -> str:
    """What a run's column is called: its tags but the held-out cluster."""
    if run.mixture is None:
        return run.name
    tags = [f"{k} {v}" if isinstance(v, int) else str(v) for k, v in _own(run).items()]
    return ", ".join(tags) or TUNED


def tags_of(record: Record, comparison: Comparison) -> dict[Column, Mapping[str, str | int]]:
    """Column -> what sets its runs apart."""
    by_name = {series(run): run.tags for run in record.runs if run.tags}
    return {c: by_name[c.label] for c in comparison.columns if c.label in by_name}


def titles_of(record: Record, comparison: Comparison) -> dict[tuple[str, str], Column]:
    """(run, mode) -> the column that it is part of."""
    columns = {(column.label, column.mode): column for column in comparison.columns}
    return {
        (run.name, mode): columns[series(run), mode]
        for run in record.runs
        for mode in run.modes
        if (series(run), mode) in columns
    }


def model_dirs(folder: Path, record: Record) -> list[Path]:
    """Folders of the experiment's models that have begun to train."""
    folders = [folder / RUNS / run.name for run in record.runs if run.mixture is not None]
    return [path for path in folders if (path / "metrics.jsonl").is_file()]


def _own(run: RunSpec) -> Mapping[str, str | int]:
    return {
        k: v
        for k, v in run.tags.items()
        if k not in ("held_out", "tuned", "datasets")
        or (k == "datasets" and "templates" in run.tags)
    }


def _of_run(found: Mapping[Column, Datasets], run: RunSpec, mode: str) -> Datasets:
    columns: Sequence[Column] = [c for c in found if (c.label, c.mode) == (run.name, mode)]
    return found[columns[0]] if columns else {}
