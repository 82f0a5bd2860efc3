"""Writes a report's files from results and model folders."""

from __future__ import annotations

import json
import math
from pathlib import Path

from flan.data import atomic
from flan.data.receipt import Receipt
from flan.reports.comparison import Comparison
from flan.reports.html import Run, render_page
from flan.reports.table import to_csv

PAGE, TABLE = "report.html", "report.csv"
_METRICS, _RECEIPT = "metrics.jsonl", "receipt.json"


def write_report(
    out_dir: Path, comparison: Comparison, runs: list[Run], title: str
) -> tuple[Path, Path]:
    """Writes `report.html` and `report.csv`; returns their paths."""
    out_dir.mkdir(parents=True, exist_ok=True)
    page, csv = out_dir / PAGE, out_dir / TABLE
    atomic.write_file(page, render_page(comparison, runs, title).encode())
    atomic.write_file(csv, to_csv(comparison).encode())
    return page, csv


def read_run(path: Path) -> Run:
    """What a model folder tells of its training: losses and mixture receipt, where they are.

    Args:
      path: a folder as `flan train` writes it, or a `metrics.jsonl` itself.

    Raises:
      FileNotFoundError: nothing of the kind there.
      ValueError: a file that is damaged.
    """
    folder = path.parent if path.is_file() else path
    metrics = path if path.is_file() else path / _METRICS
    receipt = folder / _RECEIPT
    if not metrics.is_file() and not receipt.is_file():
        raise FileNotFoundError(f"no {_METRICS} or {_RECEIPT} at {path}: expected a model folder")
    try:
        found = Receipt.from_json(json.loads(receipt.read_bytes())) if receipt.is_file() else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{receipt}: {error}") from error
    losses = _losses(metrics) if metrics.is_file() else []
    return Run(folder.resolve().name, losses, found)


def _losses(path: Path) -> list[tuple[int, float]]:
    """Steps and losses; a last line that a kill cut off, and values that are not finite, are left out."""
    found = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            step, loss = line["step"], line.get("loss")
            if not isinstance(step, int) or not isinstance(loss, int | float | None):
                raise TypeError("step and loss must be numbers")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if number == len(lines):
                continue
            raise ValueError(f"{path}, line {number}: not a line of metrics: {error}") from None
        if loss is not None and math.isfinite(loss):
            found.append((step, float(loss)))
    return found
