"""Writes a report's files from results and model folders."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan.data import atomic
from flan.data.receipt import Receipt
from flan.reports.comparison import Column, Comparison
from flan.reports.configs import parse_config
from flan.reports.figures import Tags
from flan.reports.html import Run, plots_of, render_page
from flan.reports.ink import PAPER, to_png, to_svg
from flan.reports.markdown import to_markdown
from flan.reports.table import to_csv

PAGE, TABLE, NOTES, FIGURES = "report.html", "report.csv", "report.md", "figures"
_METRICS, _RECEIPT, _CONFIG = "metrics.jsonl", "receipt.json", "config.gin"
_DEV = re.compile(r"eval/[^/]+/accuracy")


def write_report(
    out_dir: Path,
    comparison: Comparison,
    runs: list[Run],
    title: str,
    tags: Mapping[Column, Tags] | None = None,
    predictions: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Writes page, CSV, Markdown and the figures as SVG and PNG; returns the first three's paths.

    The arguments are those of `render_page`.
    """
    plots = plots_of(comparison, runs, tags or {})
    page = render_page(comparison, runs, title, tags, predictions)
    texts = {
        PAGE: page,
        TABLE: to_csv(comparison),
        NOTES: to_markdown(comparison, runs, title, plots, FIGURES),
    }
    folder = out_dir / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        figure = plot.draw(PAPER)
        atomic.write_file(folder / f"{plot.name}.svg", to_svg(figure, PAPER).encode())
        atomic.write_file(folder / f"{plot.name}.png", to_png(figure))
    for name, text in texts.items():
        atomic.write_file(out_dir / name, text.encode())
    return tuple(out_dir / name for name in texts)


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
    losses, dev = _curves(metrics) if metrics.is_file() else ([], [])
    config = folder / _CONFIG
    settings = (
        parse_config(config.read_text(encoding="utf-8", errors="replace"))
        if config.is_file()
        else {}
    )
    return Run(folder.resolve().name, losses, found, dev, settings)


def _curves(path: Path) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Steps and losses, and steps and mean dev accuracies in percent.

    A last line that a kill cut off, and values that are not finite, are left out.
    """
    losses, dev = [], []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            step, loss = line["step"], line.get("loss")
            scores = [value for name, value in line.items() if _DEV.fullmatch(name)]
            if not isinstance(step, int) or not all(
                isinstance(v, int | float | None) for v in (loss, *scores)
            ):
                raise TypeError("step, loss and scores must be numbers")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if number == len(lines):
                continue
            raise ValueError(f"{path}, line {number}: not a line of metrics: {error}") from None
        if loss is not None and math.isfinite(loss):
            losses.append((step, float(loss)))
        known = [v for v in scores if v is not None and math.isfinite(v)]
        if known:
            dev.append((step, 100 * statistics.fmean(known)))
    return losses, dev
