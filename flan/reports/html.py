"""A comparison as one self-contained HTML page, which makes no request to anywhere.

It has a script only where there are predictions to browse; a content security policy allows
that one by its hash.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from flan.data.receipt import Receipt
from flan.embedded import embedded_json, policy_hash
from flan.reports import published, table
from flan.reports.comparison import Column, Comparison, Line
from flan.reports.configs import differences
from flan.reports.figures import Plot, Tags, figures
from flan.reports.ink import PAGE, to_svg
from flan.reports.plots import Curve

_FILES = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run to show beside the results.

    Attributes:
      name: what the page calls it.
      losses: (step, loss) of each logged step.
      receipt: what its mixture is made of, or None.
      dev: (step, mean accuracy on dev rows, in percent) of each evaluation.
      config: its settings, name -> value.
    """

    name: str
    losses: Curve = ()
    receipt: Receipt | None = None
    dev: Curve = ()
    config: Mapping[str, str] = dataclasses.field(default_factory=dict)


def plots_of(
    comparison: Comparison, runs: Sequence[Run], tags: Mapping[Column, Tags]
) -> list[Plot]:
    """The figures of a page."""
    losses = {run.name: run.losses for run in runs if run.losses}
    return figures(comparison, losses, {run.name: run.dev for run in runs if run.dev}, tags)


def render_page(
    comparison: Comparison,
    runs: Sequence[Run] = (),
    title: str = "FLAN",
    tags: Mapping[Column, Tags] | None = None,
    predictions: Mapping[str, Any] | None = None,
) -> str:
    """The page's text. All that comes from data is escaped.

    Args:
      comparison: what is compared.
      runs: training runs to show.
      title: heading.
      tags: column -> what sets an experiment's runs apart.
      predictions: to browse, see `flan.reports.predictions`; no script without.
    """
    style = (_FILES / "page.css").read_text(encoding="utf-8")
    script = (_FILES / "predictions.js").read_text(encoding="utf-8")
    allowed = f"script-src '{policy_hash(script)}'; " if predictions else ""
    configs = {run.name: run.config for run in runs if run.config}
    settings = differences(configs) if len(configs) > 1 else []
    return _template().render(
        title=title,
        comparison=comparison,
        runs=runs,
        # Markup: drawn by matplotlib, which escapes the texts in it.
        plots=[
            {"wide": p.wide, "title": p.title, "note": p.note, "svg": Markup(to_svg(p.draw(PAGE)))}
            for p in plots_of(comparison, runs, tags or {})
            if p.name != "templates"  # a table that can be read, below
        ],
        heat=_heat(comparison),
        settings={"names": list(configs), "rows": settings} if settings else None,
        published=published_of(comparison),
        predictions=embedded_json(predictions) if predictions else None,
        mean_text=table.mean_text,
        best_text=table.best_text,
        interval_text=table.score_interval_text,
        gain_text=table.gain_text,
        notes=table.training_notes(comparison),
        # Ours, not from data, and without "</": they go in as they are.
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; {allowed}base-uri 'none'; "
        "form-action 'none'",
    )


def published_of(comparison: Comparison) -> dict[str, Any]:
    """What papers print of the comparison's clusters and datasets."""
    clusters, datasets = published.by_cluster(), published.by_dataset()
    lines = [line for group in comparison.groups for line in group.datasets]
    names = {group.cluster.name for group in comparison.groups}
    shown = names & clusters.scores.keys()
    models = published.models() if shown else ()
    return {
        "models": models,
        "clusters": {name: clusters.scores[name] for name in shown},
        "none": [None] * len(models),
        "cluster_source": clusters.source if shown else "none of these clusters",
        "datasets": [
            (line, datasets.scores[line.name]) for line in lines if line.name in datasets.scores
        ],
        "dataset_source": datasets.source,
    }


def _heat(comparison: Comparison) -> list[dict[str, Any]]:
    """A table of scores by template for each column that has several templates."""
    lines = [line for group in comparison.groups for line in group.datasets]
    tables = []
    for place, column in enumerate(comparison.columns):
        rows = [
            (line.name, s.templates) for line in lines if (s := line.scores[place]) and s.templates
        ]
        ids = template_ids(lines, place)
        if len(ids) > 1:
            tables.append({"title": column.title, "rows": rows, "ids": ids})
    return tables


def template_ids(lines: Sequence[Line], place: int) -> list[str]:
    """Ids of all templates that a column has a score for, in natural order."""
    ids = {t for line in lines if (score := line.scores[place]) for t in score.templates}
    return sorted(ids, key=lambda t: (len(t), t))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(_FILES),
    )
    return environment.get_template("page.html.j2")
