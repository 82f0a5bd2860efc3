"""A comparison as Markdown, for notes and issues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flan.reports import table
from flan.reports.comparison import Comparison
from flan.reports.configs import differences
from flan.reports.figures import Plot
from flan.reports.html import Run, published_of


def to_markdown(
    comparison: Comparison, runs: Sequence[Run], title: str, plots: Sequence[Plot], folder: str
) -> str:
    """The tables, the notes on training, the figures (of `folder`) and what sets runs apart."""
    parts = [f"# {_plain(title)}", ""]
    parts += _table(table.table_columns(comparison), table.table_rows(comparison))
    parts += [f"- {_plain(note)}" for note in table.training_notes(comparison)]
    known = published_of(comparison)
    if known["models"]:
        rows = [(name, *(f"{s:.1f}" for s in scores)) for name, scores in known["clusters"].items()]
        parts += ["", "## Published", ""]
        parts += _table(("cluster", *known["models"]), rows)
        parts += ["", f"{known['cluster_source']}."]
    for plot in plots:
        parts += [
            "",
            f"## {_plain(plot.title)}",
            "",
            f"![{_plain(plot.title)}]({folder}/{plot.name}.png)",
        ]
        parts += ["", plot.note] if plot.note else []
    configs = {run.name: run.config for run in runs if run.config}
    if len(configs) > 1 and (found := differences(configs)):
        parts += ["", "## Settings in which runs differ", ""]
        parts += _table(("setting", *configs), [(name, *values) for name, values in found])
    return "\n".join(parts) + "\n"


def _table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> list[str]:
    names = [_plain(name) for name in columns]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return lines + [f"| {' | '.join(map(_plain, row))} |" for row in rows]


def _plain(text: str) -> str:
    """Text that Markdown takes for text."""
    for char in "\\`*_[]<>|#":
        text = text.replace(
            char, f"\\{char}" if char not in "<>" else {"<": "&lt;", ">": "&gt;"}[char]
        )
    return " ".join(text.split())
