"""Plots of scores and losses; `flan.reports.ink` turns them into SVG and PNG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flan.reports.comparison import Comparison
from flan.reports.ink import PAGE, SERIES, WIDTH, Ink, drawing

# Characters of a legend's line that fit into half of a plot.
_HALF_LINE = 34
Curve = Sequence[tuple[float, float]]
_LINES = ("-", "--", ":", "-.")  # beyond six series the colours come again in another stroke


def cluster_bars(comparison: Comparison, ink: Ink = PAGE) -> Figure:
    """Bars of each cluster's mean, a bar for each checkpoint; the error bars are standard deviations."""
    groups, columns = comparison.groups, comparison.columns
    thickness = 0.8 / len(columns)
    with drawing(ink):
        names = [column.title for column in columns]
        height = 0.5 + _legend_height(names) + len(groups) * (0.24 + 0.2 * len(columns))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        for i, column in enumerate(columns):
            scores = [group.cluster.scores[i] for group in groups]
            shown = [(row, score) for row, score in enumerate(scores) if score]
            places = [row + (i + 0.5) * thickness - 0.4 for row, _ in shown]
            means = [score.mean for _, score in shown]
            deviations = [score.std or 0 for _, score in shown]
            axes.barh(places, means, thickness * 0.9, color=ink.of(i), label=column.title)
            axes.errorbar(
                means, places, xerr=deviations, fmt="none", ecolor=ink.text, elinewidth=1, capsize=2
            )
            marks = [" seen" if score.seen else "" for _, score in shown]
            for place, mean, deviation, mark in zip(places, means, deviations, marks, strict=True):
                end = max(mean + deviation, 0) + 1.5
                axes.text(end, place, f"{mean:.1f}{mark}", va="center", fontsize=8.5)
        labels = [
            textwrap.fill(group.cluster.name.replace("_", " "), 18)
            + ("\n(held out)" if group.held_out else "")
            for group in groups
        ]
        axes.set_yticks(range(len(groups)), labels, multialignment="right")
        axes.set_ylim(len(groups) - 0.5, -0.5)  # the first on top
        lowest = min(
            (s.mean - (s.std or 0) for g in groups for s in g.cluster.scores if s), default=0
        )
        axes.set_xlim(min(0.0, lowest), 112)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel(f"{comparison.split} score, mean over templates and datasets")
        _quiet(axes, "x")
        axes.tick_params(length=0)
        axes.spines["bottom"].set_visible(False)
        _legend(figure)
        return figure


def curves(
    lines: Mapping[str, Curve],
    *,
    across: str,
    up: str,
    ink: Ink = PAGE,
    first: int = 1,
    dots: bool = False,
    ticks: Sequence[tuple[float, str]] = (),
) -> Figure:
    """Lines by name: points (x, y) in order.

    Args:
      lines: name -> points.
      across, up: what the axes are.
      ink: colours.
      first: the first line's colour; the second is that of tuned checkpoints in bars.
      dots: whether each point is marked.
      ticks: places on the x axis, and their names.
    """
    with drawing(ink):
        height = 2.6 + _legend_height(list(lines))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        for i, (name, points) in enumerate(lines.items()):
            marker = "o" if dots or len(points) == 1 else None
            axes.plot(
                [p[0] for p in points],
                [p[1] for p in points],
                color=ink.of(first + i),
                linestyle=_LINES[i // SERIES % len(_LINES)],
                linewidth=1.4,
                marker=marker,
                markersize=4,
                label=name,
            )
        if ticks:
            axes.set_xticks([x for x, _ in ticks], [name for _, name in ticks])
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.tick_params(labelcolor=ink.muted, length=0)
        _quiet(axes, "both")
        if len(lines) > 1:
            _legend(figure)
        return figure


def loss_curve(runs: Mapping[str, Curve], ink: Ink = PAGE) -> Figure:
    """Training loss by step: run name -> (step, loss) in order."""
    return curves(runs, across="step", up="loss, nats a token", ink=ink)


def upright_bars(groups: Mapping[str, Mapping[str, float]], up: str, ink: Ink = PAGE) -> Figure:
    """Groups of bars side by side, as in the paper's first figure: group -> bar -> height."""
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    width = 0.84 / max(len(names), 1)
    with drawing(ink):
        wide = max(WIDTH, 1.0 + 0.24 * len(names) * len(groups))
        height = 2.7 + _legend_height(names)
        figure = Figure(figsize=(wide, height), layout="constrained")
        axes = figure.subplots()
        for i, name in enumerate(names):
            shown = [(g, bars[name]) for g, bars in enumerate(groups.values()) if name in bars]
            places = [g + (i + 0.5) * width - 0.42 for g, _ in shown]
            heights = [value for _, value in shown]
            axes.bar(places, heights, width * 0.9, color=ink.of(i), label=name)
            for place, value in zip(places, heights, strict=True):
                axes.text(
                    place, max(value, 0) + 1, f"{value:.1f}", ha="center", va="bottom",
                    fontsize=7, rotation=90 if width < 0.3 and len(groups) > 3 else 0,
                )  # fmt: skip
        labels = [textwrap.fill(name.replace("_", " "), 13) for name in groups]
        axes.set_xticks(range(len(groups)), labels, fontsize=7)
        highest = max((v for bars in groups.values() for v in bars.values()), default=0)
        axes.set_ylim(min(0, *(v for bars in groups.values() for v in bars.values()), 0), None)
        axes.set_ylim(top=min(max(highest * 1.2, 10), 118))
        axes.set_ylabel(up)
        axes.tick_params(labelcolor=ink.muted, length=0)
        _quiet(axes, "y")
        _legend(figure)
        return figure


def heat_map(
    rows: Sequence[tuple[str, Mapping[str, float]]], templates: Sequence[str], ink: Ink = PAGE
) -> Figure:
    """A square for each dataset and template, the darker the higher its score of 0 to 100."""
    with drawing(ink):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.2 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for y, (_, scores) in enumerate(rows):
            for x, template in enumerate(templates):
                if template not in scores:
                    continue
                score = scores[template]
                strength = min(max(score / 100, 0), 1)
                axes.bar(
                    x,
                    0.94,
                    0.96,
                    y - 0.47,
                    color=ink.of(1),
                    alpha=0.06 + 0.8 * strength,
                    linewidth=0,
                )
                axes.text(x, y, f"{score:.0f}", ha="center", va="center", fontsize=6.5)
        axes.set_xticks(range(len(templates)), templates, fontsize=7.5)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.5, len(templates) - 0.5)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return figure


def _quiet(axes: Axes, axis: str) -> None:
    axes.grid(axis=axis, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _legend_columns(names: Sequence[str]) -> int:
    """Two, where the longest name leaves room for a second one."""
    return min(len(names), 2) if max(map(len, names), default=0) <= _HALF_LINE else 1


def _legend_height(names: Sequence[str]) -> float:
    """Inches."""
    lines = sum(1 + name.count("\n") for name in map(_filled, names))
    return 0.16 * math.ceil(lines / max(_legend_columns(names), 1))


def _filled(name: str) -> str:
    return textwrap.fill(name, 2 * _HALF_LINE)


def _legend(figure: Figure) -> None:
    """Above the plot, what its artists are labelled with."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        [_filled(label) for label in labels],
        loc="outside upper left",
        ncols=_legend_columns(labels),
        frameon=False,
        handlelength=1,
        borderpad=0.2,
    )
