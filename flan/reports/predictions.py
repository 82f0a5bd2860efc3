"""Per-example predictions, gathered for a page to browse and filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.evaluation.results import Cell, load_cells, read_predictions
from flan.evaluation.row_texts import read_texts
from flan.reports.comparison import Column

ROWS = 20  # of each evaluation set
_MOST = 20_000  # predictions in all: a page of a few megabytes
_LONGEST = 300  # characters of an answer
Titles = Mapping[tuple[str, str], Column]


def collect(sources: Sequence[tuple[Path, Titles]], split: str) -> dict[str, Any]:
    """Predictions of results folders.

    Args:
      sources: folders as `flan eval` writes them, each with its titles: (checkpoint, mode) ->
        the column it belongs to; others are left out.
      split: whose rows.

    Returns:
      `columns` (titles), `sets` and `left_out` (predictions beyond what a page can hold). A
      set has `dataset`, `source`, `rows` (`row`, `text`, `references`) and `answers`: a list
      of `[column, template, row, answer, right]`, the first and third places in lists, `right`
      1, 0, or null where an answer is not right or wrong alone.
    """
    names = list(dict.fromkeys(c.title for _, titles in sources for c in titles.values()))
    sets: dict[tuple[str, str], dict[str, Any]] = {}
    held = left_out = 0
    for folder, column, cell in _cells(sources):
        if cell.id.split != split:
            continue
        found = _predictions(folder, cell)
        shown = found[:ROWS] if held < _MOST else []
        left_out += len(found) - len(shown)
        if not shown:
            continue
        held += len(shown)
        _add(sets, folder, cell, names.index(column.title), shown)
    return {"columns": names, "sets": list(sets.values()), "left_out": left_out}


def _cells(sources: Sequence[tuple[Path, Titles]]) -> Iterator[tuple[Path, Column, Cell]]:
    for folder, titles in sources:
        labels = sorted({label for label, _ in titles})
        for cell in load_cells(folder, labels) if folder.is_dir() else []:
            if column := titles.get((cell.id.checkpoint, cell.id.mode)):
                yield folder, column, cell


def _add(
    sets: dict[tuple[str, str], dict[str, Any]],
    folder: Path,
    cell: Cell,
    column: int,
    predictions: Iterable[Mapping[str, Any]],
) -> None:
    key = (cell.id.dataset, cell.id.source)
    if key not in sets:
        sets[key] = {
            "dataset": cell.id.dataset,
            "source": cell.id.source,
            "rows": [],
            "answers": [],
            "_places": {},
            "_texts": {},
        }
    entry = sets[key]
    if folder not in entry["_texts"]:
        entry["_texts"][folder] = read_texts(folder, *key, cell.id.split)
    for prediction in predictions:
        row = prediction["row"]
        if row not in entry["_places"]:
            entry["_places"][row] = len(entry["rows"])
            text = entry["_texts"][folder].get(row, "")
            references = [_short(r) for r in prediction["references"][:3]]
            entry["rows"].append({"row": row, "text": text, "references": references})
        answer = _short(prediction["prediction"])
        place = entry["_places"][row]
        entry["answers"].append([column, cell.id.template, place, answer, _right(prediction)])


def without_work(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content alone, for JSON."""
    plain = [{k: v for k, v in s.items() if not k.startswith("_")} for s in content["sets"]]
    return {**content, "sets": plain}


def _predictions(folder: Path, cell: Cell) -> list[dict[str, Any]]:
    """A cell's predictions that have what is shown; [] where they are gone or damaged."""
    try:
        found = read_predictions(cell.id.path(folder))
    except (OSError, ValueError):
        return []
    return [
        p
        for p in found
        if isinstance(p, dict)
        and isinstance(p.get("row"), int)
        and isinstance(p.get("prediction"), str)
        and isinstance(p.get("references"), list)
    ]


def _right(prediction: Mapping[str, Any]) -> int | None:
    if prediction.get("label") is not None and "choice" in prediction:
        if prediction["choice"] == prediction["label"]:
            return 1
        # Several options may be right, or read alike.
        return int(prediction["prediction"] in prediction["references"])
    plain = prediction["prediction"].strip().lower()
    return 1 if any(plain == str(r).strip().lower() for r in prediction["references"]) else None


def _short(text: object) -> str:
    text = str(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
