"""A comparison as rows of text and as CSV."""

from __future__ import annotations

import csv
import io

from flan.evaluation.summary_table import best_dev_text, interval_text, rows_text
from flan.reports.comparison import Comparison, Line, Score

_CSV_HEADER = (
    "cluster",
    "dataset",
    "held_out",
    "metric",
    "split",
    "rows",
    "checkpoint",
    "mode",
    "step",
    "templates",
    "mean",
    "std",
    "interval_low",
    "interval_high",
    "best_dev_template",
    "best_dev_test",
    "best_dev_chosen_again",
    "training",
    "rows_in_training",
    "rows_nearly_in_training",
)


def table_columns(comparison: Comparison) -> tuple[str, ...]:
    """Headers for `table_rows`."""
    columns = ["dataset", "metric"]
    for place, column in enumerate(comparison.columns):
        columns += [column.title, "best dev", "gain"] if place else [column.title, "best dev"]
    return tuple(columns)


def table_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Text cells: each cluster, its datasets under it; mean and sd over templates, best-dev score."""
    rows = []
    for group in comparison.groups:
        mark = " (held out)" if group.held_out else ""
        rows.append(_row(group.cluster, f"{group.cluster.name}{mark}"))
        rows += [_row(line, f"  {line.name}") for line in group.datasets]
    return rows


def mean_text(score: Score | None) -> str:
    """`54.3 ± 2.1`, without the second part for a single template."""
    if score is None:
        return ""
    return f"{score.mean:.1f}" if score.std is None else f"{score.mean:.1f} ± {score.std:.1f}"


def marked_text(score: Score | None) -> str:
    """`mean_text`, and whether training had seen the task."""
    return mean_text(score) + (" (seen)" if score and score.seen else "")


def training_notes(comparison: Comparison) -> list[str]:
    """What is to be said of the checkpoints' training: what is unknown, seen, shared."""
    notes = [
        f"{c.title}: training data unknown ({c.unknown})" for c in comparison.columns if c.unknown
    ]
    for place, column in enumerate(comparison.columns):
        lines = [(line.name, line.scores[place]) for g in comparison.groups for line in g.datasets]
        seen = [name for name, score in lines if score and score.seen]
        if seen:
            notes.append(f"{column.title}: trained on, or on what overlaps with, {', '.join(seen)}")
        shared = [
            f"{name} {rows_text(score.shared)}"
            for name, score in lines
            if score and score.shared and (score.shared["exact"] or score.shared["near"])
        ]
        if shared:
            notes.append(f"{column.title}: rows that training had, too: {', '.join(shared)}")
    return notes


def best_text(score: Score | None) -> str:
    """`56.0 (t3, 84%)`: see `best_dev_text`."""
    if score is None or score.best is None:
        return ""
    return best_dev_text(score.best, score.best_template, score.chosen_again)


def score_interval_text(score: Score | None) -> str:
    """`[50.1, 58.2]`, or nothing where it is not known."""
    return interval_text(score.interval) if score else ""


def gain_text(gain: float | None) -> str:
    """A gain with its sign."""
    return "" if gain is None else f"{gain:+.1f}"


def to_csv(comparison: Comparison) -> str:
    """A line for each dataset and checkpoint, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    for group in comparison.groups:
        for line in group.datasets:
            for column, score in zip(comparison.columns, line.scores, strict=True):
                if score is None:
                    continue
                row = (
                    group.cluster.name,
                    line.name,
                    "yes" if group.held_out else "no",
                    line.metric,
                    comparison.split,
                    line.rows,
                    column.label,
                    column.mode,
                    column.step,
                    len(score.templates),
                    score.mean,
                    score.std,
                    *(score.interval or (None, None)),
                    score.best_template,
                    score.best,
                    score.chosen_again,
                    score.training,
                    *(
                        (score.shared[k] for k in ("exact", "near"))
                        if score.shared
                        else (None, None)
                    ),
                )
                writer.writerow([_plain(cell) for cell in row])
    return out.getvalue()


def _row(line: Line, name: str) -> tuple[str, ...]:
    cells = [name, line.metric]
    for place, score in enumerate(line.scores):
        cells += [marked_text(score), best_text(score)]
        if place:
            cells.append(gain_text(line.gain(place)))
    return tuple(cells)


def _plain(cell: object) -> object:
    """Text that a spreadsheet does not take for a formula."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell
