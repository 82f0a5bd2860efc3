"""What an evaluated checkpoint was trained on, and which evaluation rows are among that."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flan.data.leaks import find_leaks, refuse
from flan.data.row_prints import prints_of, text_of
from flan.data.training_record import TrainingRecord, TrainingRows, read_rows
from flan.evaluation.rows import RowSet, spread

Seen = Literal["refuse", "mark"]
SEEN: tuple[Seen, ...] = ("refuse", "mark")
# What a score is, as its result says.
SEEN_STATUS, UNSEEN_STATUS, UNKNOWN_STATUS = "seen", "unseen", "unknown"
_AT_A_TIME = 4096  # rows read together


@dataclasses.dataclass(frozen=True)
class Training:
    """A checkpoint's training.

    Attributes:
      record: None where nothing is known of it.
      folder: the model folder, where the rows' prints lie.
    """

    record: TrainingRecord | None = None
    folder: Path | None = None

    @functools.cached_property
    def rows(self) -> TrainingRows | None:
        """Prints of the rows trained on; None, after a warning, where they cannot be read."""
        if self.record is None or self.folder is None or not self.record.runs:
            return None
        try:
            return read_rows(self.folder, self.record)
        except (OSError, ValueError) as error:
            print(f"flan: training rows are not compared: {error}", file=sys.stderr)
            return None

    @functools.cached_property
    def _counted(self) -> dict[tuple[str, str, int | None], dict[str, int]]:
        return {}

    def count(self, name: str, rows: RowSet, limit: int | None) -> dict[str, int] | None:
        """How many of an evaluation set's rows were also trained on: `exact`, and `near` (others, nearly).

        None where that is not known. See `flan.data.row_prints` for what is nearly the same.
        """
        if self.rows is None:
            return None
        key = name, rows.key, limit
        if key not in self._counted:
            places = spread(len(rows), limit)
            found = np.zeros(2, np.int64)
            for start in range(0, len(places), _AT_A_TIME):
                examples = rows.load(places[start : start + _AT_A_TIME]).examples
                looked_up = self.rows.look_up(prints_of(map(text_of, examples)))
                found += [int(part.sum()) for part in looked_up]
            exact, near = found.tolist()
            self._counted[key] = {"rows": len(places), "exact": exact, "near": near}
        return self._counted[key]


def check_unseen(
    who: str, record: TrainingRecord | None, datasets: Sequence[str], seen: Seen
) -> dict[str, list[str]]:
    """Evaluated dataset -> what of its training touched it, in words.

    Raises SeenInTraining where there is some and `seen` is "refuse", ValueError for another
    value of it.
    """
    if seen not in SEEN:
        raise ValueError(f"seen must be one of {list(SEEN)}, got {seen!r}")
    leaks = find_leaks(record, datasets)
    if seen == "refuse":
        refuse(who, leaks, "Evaluate others, or mark these scores as seen: --seen mark")
    return {name: [str(leak) for leak in found] for name, found in leaks.items()}


def status_of(record: TrainingRecord | None, seen: bool) -> str:
    """`seen`, `unseen` or `unknown`: what can be said of a score."""
    if seen:
        return SEEN_STATUS
    return UNKNOWN_STATUS if record is None or record.unknown else UNSEEN_STATUS


def check_entry(entry: Any) -> None:
    """ValueError unless a value has the form that `entry_of` gives (or is None: nothing noted)."""
    if entry is None:
        return
    parts = {"unknown": list, "datasets": dict, "rows": dict}
    if not isinstance(entry, dict) or any(
        not isinstance(entry.get(name, kind()), kind) for name, kind in parts.items()
    ):
        raise ValueError(f"training must have {list(parts)}, got {str(entry)[:80]}")
    for name, told in entry.get("datasets", {}).items():
        if not isinstance(told, dict) or not isinstance(told.get("because", []), list):
            raise ValueError(f"training of {name!r} must say a status and why, got {told!r}")
    for name, counts in entry.get("rows", {}).items():
        right = isinstance(counts, dict) and all(
            isinstance(counts.get(kind), int) for kind in ("rows", "exact", "near")
        )
        if name.count("/") != 2 or not right:
            raise ValueError(f"rows of {name!r} must be counts of a split, got {counts!r}")


def entry_of(
    record: TrainingRecord | None,
    seen: Mapping[str, Sequence[str]],
    counts: Mapping[str, Mapping[str, int]],
    datasets: Sequence[str],
    before: Any = None,
) -> dict[str, Any]:
    """What results say of a checkpoint's training.

    Args:
      record: of the checkpoint.
      seen: evaluated dataset -> what touched it.
      counts: `dataset/source/split` -> rows also trained on, see `Training.count`.
      datasets: all that are evaluated now.
      before: an earlier entry of the same weights, to add to.

    Returns:
      `unknown` (in words, what is not known of its training), `datasets` (dataset -> its
      `status` and `because`) and `rows` (as `counts`).
    """
    unknown = ["what it was trained on"] if record is None else list(record.unknown)
    told = {
        name: {"status": status_of(record, name in seen), "because": list(seen.get(name, ()))}
        for name in datasets
    }
    entry: dict[str, Any] = {"unknown": unknown, "datasets": told, "rows": dict(counts)}
    if isinstance(before, dict):
        for part in ("datasets", "rows"):
            if isinstance(before.get(part), dict):
                entry[part] = {**before[part], **entry[part]}
    return entry
