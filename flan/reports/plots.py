"""Plots as SVG text to stand inside a page, in whose colours they are drawn.

Matplotlib writes fixed colours; each stands for a CSS variable of the page and is replaced
by it, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from flan.reports.comparison import Comparison

_WIDTH = 5.3  # inches: text stays legible when a phone shows the plot at its full width
SERIES = 6  # colours of series that the page defines; more go round
_TEXT, _MUTED, _GRID = "#fe0001", "#fe0002", "#fe0003"
_CSS = {_TEXT: "var(--text)", _MUTED: "var(--muted)", _GRID: "var(--line)"}
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: the page's font, selectable, small
    "svg.hashsalt": "flan",  # the same bytes for the same numbers
    "font.size": 9.5,
    "text.color": _TEXT,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _GRID,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _TEXT,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}


def _series(place: int) -> str:
    color = f"#fd00{place % SERIES + 1:02x}"
    _CSS[color] = f"var(--series-{place % SERIES + 1})"
    return color


def cluster_bars(comparison: Comparison) -> str:
    """Bars of each cluster's mean, a bar for each checkpoint; the error bars are standard deviations."""
    groups, columns = comparison.groups, comparison.columns
    thickness = 0.8 / len(columns)
    with mpl.rc_context(_STYLE):
        height = 0.8 + len(groups) * (0.24 + 0.2 * len(columns))
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
        for i, column in enumerate(columns):
            scores = [group.cluster.scores[i] for group in groups]
            shown = [(row, score) for row, score in enumerate(scores) if score]
            places = [row + (i + 0.5) * thickness - 0.4 for row, _ in shown]
            means = [score.mean for _, score in shown]
            deviations = [score.std or 0 for _, score in shown]
            axes.barh(places, means, thickness * 0.9, color=_series(i), label=column.title)
            axes.errorbar(
                means, places, xerr=deviations, fmt="none", ecolor=_TEXT, elinewidth=1, capsize=2
            )
            marks = [" seen" if score.seen else "" for _, score in shown]
            for place, mean, deviation, mark in zip(places, means, deviations, marks, strict=True):
                end = max(mean + deviation, 0) + 1.5
                axes.text(end, place, f"{mean:.1f}{mark}", va="center", fontsize=8.5)
        names = [
            textwrap.fill(group.cluster.name.replace("_", " "), 18)
            + ("\n(held out)" if group.held_out else "")
            for group in groups
        ]
        axes.set_yticks(range(len(groups)), names, multialignment="right")
        axes.set_ylim(len(groups) - 0.5, -0.5)  # the first on top
        lowest = min(
            (s.mean - (s.std or 0) for g in groups for s in g.cluster.scores if s), default=0
        )
        axes.set_xlim(min(0.0, lowest), 112)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel(f"{comparison.split} score, mean over templates and datasets")
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.spines["bottom"].set_visible(False)
        _legend(figure, len(columns))
        return _svg(figure)


def loss_curve(runs: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Training loss by step: run name -> (step, loss) in order."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        for i, (name, points) in enumerate(runs.items()):
            steps, losses = [p[0] for p in points], [p[1] for p in points]
            marker = "o" if len(points) == 1 else None
            # The second colour is that of tuned checkpoints in the bars.
            color = _series(i + 1)
            axes.plot(steps, losses, color=color, linewidth=1.4, marker=marker, label=name)
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats a token")
        axes.tick_params(labelcolor=_MUTED, length=0)
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        if len(runs) > 1:
            _legend(figure, len(runs))
        return _svg(figure)


def _legend(figure: Figure, count: int) -> None:
    figure.legend(
        loc="outside upper left", ncols=min(count, 2), frameon=False, handlelength=1, borderpad=0.2
    )


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]  # no XML declaration inside a page
    for color, variable in _CSS.items():
        svg = svg.replace(color, variable)
    return svg
