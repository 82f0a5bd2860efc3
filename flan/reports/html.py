"""A comparison as one self-contained HTML page: no script, no request to anywhere."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from flan.data.receipt import Receipt
from flan.reports import plots, table
from flan.reports.comparison import Comparison, Line

Curve = Sequence[tuple[int, float]]


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run to show beside the results.

    Attributes:
      name: what the page calls it.
      losses: (step, loss) of each logged step.
      receipt: what its mixture is made of, or None.
    """

    name: str
    losses: Curve = ()
    receipt: Receipt | None = None


def render_page(comparison: Comparison, runs: Sequence[Run] = (), title: str = "FLAN") -> str:
    """The page's text. All that comes from data is escaped."""
    curves: Mapping[str, Curve] = {run.name: run.losses for run in runs if run.losses}
    return _template().render(
        title=title,
        comparison=comparison,
        runs=runs,
        # Markup: drawn by matplotlib, which escapes the texts in it.
        bars=Markup(plots.cluster_bars(comparison)),
        curve=Markup(plots.loss_curve(curves)) if curves else None,
        template_ids=_template_ids,
        mean_text=table.mean_text,
        best_text=table.best_text,
        interval_text=table.score_interval_text,
        gain_text=table.gain_text,
        notes=table.training_notes(comparison),
    )


def _template_ids(line: Line) -> list[str]:
    """Ids of all templates that any column has a score for, in natural order."""
    ids = {template for score in line.scores if score for template in score.templates}
    return sorted(ids, key=lambda t: (len(t), t))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
    )
    return environment.get_template("page.html.j2")
