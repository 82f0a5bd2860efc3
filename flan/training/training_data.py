"""The record of a run's training data (`flan.data.training_record`), beside that of its start."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from flan.catalog.registry import get_dataset
from flan.checkpoints import layout
from flan.checkpoints.record import checkpoint_record
from flan.data import atomic, training_record
from flan.data.row_prints import Prints, SourcePrints
from flan.data.training_record import (
    ReadDataset,
    ReadRun,
    ReadSource,
    TrainingRecord,
    TrainingRows,
)

log = logging.getLogger("flan")


class UsedRows(NamedTuple):
    """Rows that a run may draw.

    Attributes:
      rows: of one of a dataset's sources.
      used: so many of them, from the first.
      templates: ids of the templates that phrase them.
    """

    rows: SourcePrints
    used: int
    templates: tuple[str, ...]


class Reading(NamedTuple):
    """What a run reads: its record, and the rows' prints."""

    run: ReadRun
    prints: Sequence[Prints]


@runtime_checkable
class WithRecord(Protocol):
    """Data that can say which rows it consists of."""

    def reading(self, steps: int, fingerprint: str) -> Reading:
        """What a run of so many steps reads; `fingerprint` is that of its opened data."""


def reading_of(
    used: Iterable[UsedRows],
    *,
    data: str,
    mixture: str,
    rendering: str,
    steps: int,
    fingerprint: str,
) -> Reading:
    """A run's record from the rows that it draws on; see `ReadRun`."""
    datasets: dict[str, list[ReadSource]] = {}
    templates: dict[str, tuple[str, ...]] = {}
    prints = []
    for rows, count, ids in used:
        if count:
            prints.append(Prints(rows.prints.rows[:count], rows.prints.near[:count]))
            templates[rows.dataset] = ids
            datasets.setdefault(rows.dataset, []).append(_source(rows, count))
    read = tuple(
        ReadDataset(name, get_dataset(name).cluster, templates[name], tuple(sources))
        for name, sources in datasets.items()
    )
    return Reading(ReadRun(data, mixture, rendering, steps, fingerprint, read), prints)


class NewRecord(NamedTuple):
    """A run's record before it is written.

    Attributes:
      record: with that of what the run started from.
      rows: of all of it; None where they lie in the run's folder already.
    """

    record: TrainingRecord
    rows: TrainingRows | None

    def write(self, model_dir: Path) -> TrainingRecord:
        """Writes it into a model folder; returns it as it is there."""
        if self.rows is not None:
            return training_record.write_record(model_dir, self.record, self.rows)
        if training_record.read_record(model_dir) != self.record:
            atomic.write_json(model_dir / training_record.RECORD_FILE, self.record.to_json())
        return self.record


def new_record(
    model_dir: Path, initial: Path | None, reading: Reading | None, who: str
) -> NewRecord:
    """The record of a run, after that of what it started from. Writes nothing.

    Args:
      model_dir: the run's folder. A record of the same run there stays.
      initial: what the run started from, or None for fresh parameters.
      reading: what it reads; None where its data cannot say.
      who: the run's data in words, for that case.

    Raises ValueError for a damaged record of the initial checkpoint.
    """
    if there := _kept(model_dir, reading):
        return NewRecord(there, None)
    runs: list[ReadRun] = []
    unknown: list[str] = []
    rows: list[Prints | TrainingRows] = []
    if initial is not None:
        source, _ = layout.split_step(initial)
        name = source.resolve().name
        # It may be gone where the run goes on from checkpoints of its own.
        if source.is_dir() and (stored := checkpoint_record(initial)):
            runs += stored.runs
            unknown += stored.unknown
            try:
                rows.append(training_record.read_rows(source, stored))
            except (OSError, ValueError) as error:
                log.warning("which rows %s was trained on is not known: %s", name, error)
                unknown.append(f"which rows {name} was trained on")
        else:
            unknown.append(f"what {name} was trained on")
    if reading is None:
        unknown.append(f"what {who} consists of")
    else:
        runs.append(reading.run)
        rows += reading.prints
        unknown += [f"what {name} consists of" for name in reading.run.others]
    record = TrainingRecord(tuple(runs), tuple(dict.fromkeys(unknown)))
    return NewRecord(record, TrainingRows.of(rows))


def _kept(model_dir: Path, reading: Reading | None) -> TrainingRecord | None:
    """The record in a run's folder if it is this run's, with its rows; None otherwise."""
    try:
        record = training_record.read_record(model_dir)
        if record is None or reading is None or not record.runs:
            return None
        *before, last = record.runs
        if dataclasses.replace(last, steps=reading.run.steps) != reading.run:
            return None
        training_record.read_rows(model_dir, record)
    except (OSError, ValueError):
        return None
    # The same run may have been made longer.
    return dataclasses.replace(record, runs=(*before, reading.run))


def _source(rows: SourcePrints, count: int) -> ReadSource:
    ids = np.asarray(rows.ids[:count], "<i8")
    return ReadSource(
        source=rows.identity["source"],
        tfds=rows.identity["tfds"],
        slice=rows.identity["slice"],
        rows=count,
        first=int(ids.min()),
        last=int(ids.max()),
        row_ids=hashlib.sha256(ids.tobytes()).hexdigest(),
        data=rows.identity["data"],
    )
