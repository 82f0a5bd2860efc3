"""What plots are drawn in: the colours of a page, or those of a file that stands alone.

Matplotlib writes fixed colours. For a page each stands for one of its CSS variables and is
replaced by it, so that one drawing serves light and dark.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

WIDTH = 5.3  # inches: text stays legible when a phone shows the plot at its full width
_PNG_DPI = 160


@dataclasses.dataclass(frozen=True)
class Ink:
    """Colours of text, of what matters less, of lines, and of series, which go round."""

    text: str
    muted: str
    line: str
    series: tuple[str, ...]

    def of(self, place: int) -> str:
        """The colour of a series."""
        return self.series[place % len(self.series)]


SERIES = 6
PAGE = Ink("#fe0001", "#fe0002", "#fe0003", tuple(f"#fd00{i:02x}" for i in range(1, SERIES + 1)))
PAPER = Ink(
    "#1d2129",
    "#5c6470",
    "#dfe2e6",
    ("#8b95a5", "#2563c4", "#c2600a", "#12806a", "#8a4fbf", "#b8326b"),
)
_CSS = {
    PAGE.text: "var(--text)",
    PAGE.muted: "var(--muted)",
    PAGE.line: "var(--line)",
    **{color: f"var(--series-{i})" for i, color in enumerate(PAGE.series, 1)},
}


def drawing(ink: Ink) -> Any:
    """The context to draw in."""
    return mpl.rc_context(
        {
            "svg.fonttype": "none",  # text stays text: the page's font, selectable, small
            "svg.hashsalt": "flan",  # the same bytes for the same numbers
            "font.size": 9.5,
            "text.color": ink.text,
            "axes.labelcolor": ink.muted,
            "axes.edgecolor": ink.line,
            "xtick.color": ink.line,
            "ytick.color": ink.line,
            "xtick.labelcolor": ink.muted,
            "ytick.labelcolor": ink.text,
            "grid.color": ink.line,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        }
    )


def to_svg(figure: Figure, ink: Ink = PAGE) -> str:
    """The figure as SVG text, for a page without the XML declaration."""
    out = io.StringIO()
    with drawing(ink):
        figure.savefig(out, format="svg", transparent=ink is PAGE, metadata={"Date": None})
    svg = out.getvalue()
    if ink is not PAGE:
        return svg
    svg = svg[svg.index("<svg") :]
    for color, variable in _CSS.items():
        svg = svg.replace(color, variable)
    return svg


def to_png(figure: Figure, ink: Ink = PAPER) -> bytes:
    """The figure as a PNG on white."""
    out = io.BytesIO()
    with drawing(ink):
        figure.savefig(out, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return out.getvalue()
