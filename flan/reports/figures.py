"""Which figures a comparison has: the paper's, as far as its runs give them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from flan.reports import plots, published
from flan.reports.comparison import BASE, Column, Comparison
from flan.reports.ink import Ink

Tags = Mapping[str, str | int]
# What may vary along a curve: tag -> what its axis says. The first that varies is drawn.
_ALONG = {
    "clusters": "clusters tuned on",
    "parameters": "parameters",
    "shots": "exemplars",
    "datasets": "datasets a cluster",
    "size": "size",
}


@dataclasses.dataclass(frozen=True)
class Plot:
    """One figure.

    Attributes:
      name: of its files.
      title, note: what it shows, and how to read it.
      draw: draws it.
      wide: whether a page gives it all its width.
    """

    name: str
    title: str
    note: str
    draw: Callable[[Ink], Figure]
    wide: bool = False


def figures(
    comparison: Comparison,
    runs: Mapping[str, plots.Curve],
    dev: Mapping[str, plots.Curve],
    tags: Mapping[Column, Tags],
) -> list[Plot]:
    """All figures that there is something for.

    Args:
      comparison: what is compared.
      runs: training run -> (step, loss).
      dev: training run -> (step, mean accuracy on dev rows).
      tags: column -> what sets its runs apart, for experiments.
    """
    found = [
        Plot(
            "by_cluster",
            "By cluster",
            "Mean over a cluster's datasets of the mean over instruction templates, on a scale of 0 "
            "to 100; the error bar is the standard deviation of that mean when each dataset's "
            "template is picked at random. A cluster counts the datasets that every checkpoint was "
            "evaluated on.",
            lambda ink: plots.cluster_bars(comparison, ink),
        )
    ]
    if best := _first_figure(comparison):
        found.append(
            Plot(
                "held_out",
                "Before and after tuning",
                "As in the paper's first figure: the untuned model, the tuned one with an average "
                "template, and with the template that was best on dev.",
                lambda ink: plots.upright_bars(best, f"{comparison.split} score", ink),
                wide=True,
            )
        )
    if curve := _along(comparison, tags):
        found.append(curve)
    if bars := _renderings(comparison, tags):
        found.append(bars)
    if heat := _heat(comparison):
        title, rows, templates = heat
        found.append(
            Plot(
                "templates",
                f"Template by template: {title}",
                f"{comparison.split} score of each dataset through each template.",
                lambda ink: plots.heat_map(rows, templates, ink),
            )
        )
    for name, title, lines, up in (
        ("loss", "Training loss", runs, "loss, nats a token"),
        ("dev", "Accuracy on dev rows while training", dev, "accuracy, %"),
    ):
        if lines:
            found.append(Plot(name, title, "", _learning(lines, up)))
    return found


def _learning(lines: Mapping[str, plots.Curve], up: str) -> Callable[[Ink], Figure]:
    return lambda ink: plots.curves(lines, across="step", up=up, ink=ink)


def _first_figure(comparison: Comparison) -> dict[str, dict[str, float]] | None:
    """Group -> bars of base, average and best-dev template, where one model meets its base."""
    if len(comparison.columns) != 2:
        return None
    first, second = comparison.columns
    groups: dict[str, dict[str, float]] = {}
    for group in comparison.groups:
        base, tuned = group.cluster.scores
        if base is None or tuned is None:
            continue
        bars = {first.title: base.mean, f"{second.title}, average template": tuned.mean}
        if tuned.best is not None:
            bars[f"{second.title}, best dev template"] = tuned.best
        groups[group.cluster.name] = bars
    return groups or None


def mean_over_clusters(comparison: Comparison, places: Sequence[int]) -> dict[int, float]:
    """Column -> mean over the clusters that all of these columns have."""
    shared = [g.cluster for g in comparison.groups if all(g.cluster.scores[i] for i in places)]
    if not shared:
        return {}
    return {
        i: statistics.fmean(score.mean for line in shared if (score := line.scores[i]))
        for i in places
    }


def _along(comparison: Comparison, tags: Mapping[Column, Tags]) -> Plot | None:
    """Scores along the tag that varies: number of clusters, size, exemplars, datasets."""
    of = [tags.get(column, {}) for column in comparison.columns]
    varying = [tag for tag in _ALONG if len({t[tag] for t in of if tag in t}) > 1]
    if not varying:
        return None
    tag = varying[0]
    places = [i for i, t in enumerate(of) if tag in t]
    values = list(dict.fromkeys(of[i][tag] for i in places))
    numbers = all(isinstance(value, int) for value in values)
    x_of = {v: float(v) if numbers else float(k) for k, v in enumerate(values)}
    means = mean_over_clusters(comparison, places)
    # What else varies makes lines of their own: templates, tuned or not.
    kinds: dict[str, list[int]] = {}
    for i in places:
        kinds.setdefault(_kind(of[i], tag), []).append(i)
    lines: dict[str, list[tuple[float, float]]] = {}
    for kind, at in kinds.items():
        points = sorted((x_of[of[i][tag]], means[i]) for i in at if i in means)
        lines[f"mean, {kind}" if kind else "mean"] = points
    if len(kinds) == 1:
        for group in comparison.groups:
            scores = [(x_of[of[i][tag]], group.cluster.scores[i]) for i in places]
            name = group.cluster.name.replace("_", " ")
            lines[name] = sorted((x, score.mean) for x, score in scores if score)
    note = "Mean scores on the held-out clusters."
    if paper := published.ablation(tag):
        lines["FLAN 137B, published"] = [(float(k), v) for k, v in sorted(paper.scores.items())]
        note += f" Published: {paper.source}. {paper.note}".rstrip()
    base = [i for i, column in enumerate(comparison.columns) if column.label == BASE]
    if base and (untuned := mean_over_clusters(comparison, [*places, base[0]])):
        lines["untuned, mean"] = [
            (x, untuned[base[0]]) for x in (min(x_of.values()), max(x_of.values()))
        ]
    drawn = {name: points for name, points in lines.items() if points}
    ticks = [(x, str(value)) for value, x in x_of.items()]
    across, up = _ALONG[tag], f"{comparison.split} score"
    return Plot(
        "curve",
        f"By {across}",
        note,
        lambda ink: plots.curves(drawn, across=across, up=up, ink=ink, dots=True, ticks=ticks),
    )


def _kind(tags: Tags, along: str) -> str:
    """What sets runs apart beside the tag along which they are drawn."""
    own = [
        k
        for k in ("templates", "tuned", "rendering", "start", "method")
        if k in tags and k != along
    ]
    return ", ".join(
        f"{tags[k]} {k}" if isinstance(tags[k], int) else f"{k}: {tags[k]}" for k in own
    )


def _renderings(comparison: Comparison, tags: Mapping[Column, Tags]) -> Plot | None:
    """Bars of the instruction ablation, beside the published ones."""
    places = [i for i, c in enumerate(comparison.columns) if "rendering" in tags.get(c, {})]
    means = mean_over_clusters(comparison, places)
    if not means:
        return None
    paper = published.ablation("rendering")
    assert paper is not None
    groups: dict[str, dict[str, float]] = {}
    for i, mean in means.items():
        title = comparison.columns[i].title
        groups[title] = {"ours": mean}
        if title in paper.scores:
            groups[title]["FLAN 137B, published"] = paper.scores[title]
    return Plot(
        "instructions",
        "The role of instructions",
        "Tuned with instructions, without templates, or with the dataset's name; mean over the "
        f"clusters that all have. Published: {paper.source}.",
        lambda ink: plots.upright_bars(groups, f"{comparison.split} score", ink),
    )


def _heat(
    comparison: Comparison,
) -> tuple[str, list[tuple[str, Mapping[str, float]]], list[str]] | None:
    """Title, rows and templates of the last column that has several templates."""
    for place in reversed(range(len(comparison.columns))):
        lines = [(line.name, line.scores[place]) for g in comparison.groups for line in g.datasets]
        rows = [
            (name, score.templates) for name, score in lines if score and len(score.templates) > 1
        ]
        if rows:
            ids = {t for _, scores in rows for t in scores}
            return comparison.columns[place].title, rows, sorted(ids, key=lambda t: (len(t), t))
    return None
