"""From cells to the numbers that papers print.

For each dataset and split: the mean and sample standard deviation of the main metric over
templates ("how well does an ordinary instruction do"), and the test score of the template
that was best on dev ("how well does a chosen one do"). Sources of a dataset (ANLI's rounds)
are kept apart and also pooled: a template's pooled score is its mean over sources. A
cluster's score is the mean over its datasets. Whatever cells are there are summarized; a
template counts for a split once it has all the sources that the split has.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.catalog.clusters import CLUSTERS
from flan.data import atomic
from flan.evaluation.results import Cell, content_hash, load_cells, read_checkpoints

FORMAT = "flan-summary-1"
SUMMARY_FILE = "summary.json"
SPLITS = ("dev", "test")


def write_summary(out_dir: Path) -> dict[str, Any]:
    """Summarizes all results of a folder into its `summary.json`, and returns it."""
    summary = summarize(load_cells(out_dir), read_checkpoints(out_dir))
    atomic.write_json(out_dir / SUMMARY_FILE, summary)
    return summary


def summarize(
    cells: Iterable[Cell], checkpoints: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """`{"checkpoints": {label: {"step", "modes": {mode: {"datasets", "clusters"}}}}}`.

    A dataset has `cluster`, `main_metric`, `splits` (see `_split`) and `best_dev`
    (`template`, `dev`, `test`, or None where dev or test is missing). A cluster has for each
    split the mean over its datasets, and the mean of their `best_dev` test scores.
    """
    grouped: dict[str, dict[str, dict[str, list[Cell]]]] = {}
    for cell in sorted(cells, key=lambda c: c.id):
        modes = grouped.setdefault(cell.id.checkpoint, {})
        modes.setdefault(cell.id.mode, {}).setdefault(cell.id.dataset, []).append(cell)
    known = checkpoints or {}
    return {
        "format": FORMAT,
        "checkpoints": {
            label: {
                "step": known.get(label, {}).get("step"),
                "modes": {mode: _mode(datasets) for mode, datasets in modes.items()},
            }
            for label, modes in grouped.items()
        },
    }


def _mode(by_dataset: Mapping[str, Sequence[Cell]]) -> dict[str, Any]:
    datasets = {name: _dataset(cells) for name, cells in by_dataset.items()}
    order = [*CLUSTERS, *sorted({d["cluster"] for d in datasets.values()} - CLUSTERS.keys())]
    clusters = {}
    for cluster in order:
        members = {n: d for n, d in datasets.items() if d["cluster"] == cluster}
        if members:
            clusters[cluster] = _cluster(members)
    return {"datasets": datasets, "clusters": clusters}


def _cluster(members: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"splits": {}, "best_dev": None}
    for split in SPLITS:
        means = {
            n: d["splits"][split]["mean"]
            for n, d in members.items()
            if d["splits"].get(split, {}).get("mean") is not None
        }
        if means:
            found["splits"][split] = {
                "mean": statistics.fmean(means.values()),
                "datasets": sorted(means),
            }
    best = {n: d["best_dev"]["test"] for n, d in members.items() if d["best_dev"]}
    if best:
        found["best_dev"] = {"test": statistics.fmean(best.values()), "datasets": sorted(best)}
    return found


def _dataset(cells: Sequence[Cell]) -> dict[str, Any]:
    by_split = {s: [c for c in cells if c.id.split == s] for s in SPLITS}
    splits = {s: _split(found) for s, found in by_split.items() if found}
    return {
        "cluster": cells[0].cluster,
        "main_metric": cells[0].main_metric,
        "splits": splits,
        "best_dev": best_dev(
            splits.get("dev", {}).get("templates", {}), splits.get("test", {}).get("templates", {})
        ),
    }


def _split(cells: Sequence[Cell]) -> dict[str, Any]:
    """One split of a dataset.

    `templates` (id -> pooled main metric), its `mean` and `std`, `rows`, `metrics` (each
    metric's pooled mean and std), and `sources` with the same for each source alone.
    `mixed` says that the cells were not all computed on the same rows with the same
    settings, so that their mean means little.
    """
    sources = sorted({c.id.source for c in cells})
    by_source = {s: [c for c in cells if c.id.source == s] for s in sources}
    alone = {s: {c.id.template: c.metrics for c in found} for s, found in by_source.items()}
    complete = [t for t in _templates(cells) if all(t in found for found in alone.values())]
    pooled = {t: _mean_metrics([alone[s][t] for s in sources]) for t in complete}
    main = cells[0].main_metric
    rows = sum(max(c.counts.get("rows", 0) for c in found) for found in by_source.values())
    return {
        **_over_templates(pooled, main),
        "rows": rows,
        "mixed": any(len({_conditions(c) for c in found}) > 1 for found in by_source.values()),
        "ties": sum(c.counts.get("ties", 0) for c in cells),
        "cut_prompts": sum(c.counts.get("cut_prompts", 0) for c in cells),
        "sources": {s: _over_templates(alone[s], main) for s in sources},
    }


def _conditions(cell: Cell) -> str:
    """What cells must share to be compared: all that made their keys, but for the template."""
    apart = ("template", "seconds", "versions")
    return content_hash({k: v for k, v in cell.details.items() if k not in apart})


def _templates(cells: Iterable[Cell]) -> list[str]:
    """Template ids in natural order: t2 before t10."""
    ids = {c.id.template for c in cells}
    return sorted(ids, key=lambda t: (len(t), t))


def _mean_metrics(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    shared = set.intersection(*(set(m) for m in metrics))
    return {n: statistics.fmean(m[n] for m in metrics) for n in sorted(shared)}


def _over_templates(by_template: Mapping[str, Mapping[str, float]], main: str) -> dict[str, Any]:
    values = {t: m[main] for t, m in by_template.items()}
    names = sorted({n for m in by_template.values() for n in m})
    return {
        "templates": values,
        **mean_and_std(list(values.values())),
        "metrics": {n: mean_and_std([m[n] for m in by_template.values() if n in m]) for n in names},
    }


def mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation (n - 1); None where there are too few values."""
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }


def best_dev(dev: Mapping[str, float], test: Mapping[str, float]) -> dict[str, Any] | None:
    """The template with the highest dev score among those that also have a test score.

    The first in natural order wins a tie. None where no template has both.
    """
    both = sorted(dev.keys() & test.keys(), key=lambda t: (len(t), t))
    if not both:
        return None
    best = max(both, key=lambda t: dev[t])
    return {"template": best, "dev": dev[best], "test": test[best], "candidates": len(both)}


def table_rows(
    mode: Mapping[str, Any], datasets: Iterable[str] | None = None
) -> list[tuple[str, ...]]:
    """A mode's summary as text, clusters first and their datasets under them.

    Args:
      mode: an entry of `modes`.
      datasets: only these.

    Returns:
      (name, metric, templates, rows, dev, test, best-dev template) of each; dev and test as
      mean and standard deviation over templates, the last as its id and test score.
    """
    chosen = set(mode["datasets"] if datasets is None else datasets)
    rows: list[tuple[str, ...]] = []
    for cluster, entry in mode["clusters"].items():
        members = [n for n, d in mode["datasets"].items() if d["cluster"] == cluster]
        if not chosen.intersection(members):
            continue
        means = [entry["splits"].get(split, {}).get("mean") for split in SPLITS]
        best = f"{entry['best_dev']['test']:.1f}" if entry["best_dev"] else ""
        rows.append((cluster, "", "", "", *map(_number, means), best))
        for name in members:
            if name in chosen:
                rows.append(_dataset_row(name, mode["datasets"][name]))
    return rows


def _dataset_row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    splits = [entry["splits"].get(split) for split in SPLITS]
    largest = next(s for s in reversed(splits) if s)
    best = entry["best_dev"]
    mixed = " (mixed settings)" if any(s["mixed"] for s in splits if s) else ""
    return (
        f"  {name}{mixed}",
        entry["main_metric"],
        str(len(largest["templates"])),
        str(largest["rows"]),
        *(_number(s["mean"], s["std"]) if s else "" for s in splits),
        f"{best['test']:.1f} ({best['template']})" if best else "",
    )


def _number(mean: float | None, std: float | None = None) -> str:
    if mean is None:
        return ""
    return f"{mean:.1f}" if std is None else f"{mean:.1f} \u00b1 {std:.1f}"
