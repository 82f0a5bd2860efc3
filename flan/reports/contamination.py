"""The paper's plot of contamination: how scores change on clean rows, by how many are clean."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from flan.data import atomic

PLOT = "contamination.svg"


def write_plot(out: Path, content: Mapping[str, Any]) -> Path:
    """Draws `contamination.json`'s scores as an SVG; returns its path.

    A point is a dataset of a checkpoint: how much of it is clean, and its score on clean rows
    less that on all rows. Points well below 0 mean that dirty rows flatter the score.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for label, datasets in content["scores"].items():
        points = []
        for name, line in datasets.items():
            total = line["clean_rows"] + line["dirty_rows"]
            if "clean" in line and total:
                points.append((100 * line["clean_rows"] / total, line["clean"] - line["all"], name))
        if not points:
            continue
        axes.scatter([p[0] for p in points], [p[1] for p in points], s=22, label=label)
        for x, y, name in points:
            axes.annotate(
                name,
                (x, y),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7,
                parse_math=False,
            )
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel("clean rows, %")
    axes.set_ylabel("score on clean rows less score on all")
    axes.set_xlim(-3, 108)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    atomic.write_file(out / PLOT, buffer.getvalue())
    return out / PLOT
