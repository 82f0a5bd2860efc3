"""From cells to the numbers that papers print.

For each dataset and split: the mean and sample standard deviation of the main metric over
templates ("how well does an ordinary instruction do"), and the test score of the template
that was best on dev ("how well does a chosen one do"). Sources of a dataset (ANLI's rounds)
are kept apart and also pooled: a template's pooled score is its mean over sources. A
cluster's score is the mean over its datasets. Whatever cells are there are summarized; a
template counts for a split once it has all the sources that the split has.

Intervals are 95% bootstrap intervals over examples (see `flan.evaluation.resampling`), the
templates held fixed: what other test rows of the same kind might have given.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from flan.catalog.clusters import CLUSTERS
from flan.data import atomic
from flan.evaluation.resampling import interval
from flan.evaluation.results import (
    SUMMARY_FILE,
    Cell,
    content_hash,
    load_cells,
    read_checkpoints,
)

log = logging.getLogger(__name__)

FORMAT = "flan-summary-2"
SPLITS = ("dev", "test")


def write_summary(out_dir: Path) -> dict[str, Any]:
    """Summarizes all results of a folder into its `summary.json`, and returns it.

    Damaged files are left out with a warning: one of them spoils no other result.
    """

    def warn(error: ValueError) -> None:
        log.warning("left out of %s: %s; evaluate it again", SUMMARY_FILE, error)

    cells = load_cells(out_dir, on_damaged=warn)
    summary = summarize(cells, read_checkpoints(out_dir, on_damaged=lambda error: None))
    atomic.write_json(out_dir / SUMMARY_FILE, summary)
    return summary


def summarize(
    cells: Iterable[Cell], checkpoints: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """`{"checkpoints": {label: {"step", "unknown", "modes": {mode: {"datasets", "clusters"}}}}}`.

    `unknown` says what is not known of a checkpoint's training. A dataset has `cluster`,
    `main_metric`, `splits` (see `_split`), `best_dev` (see there) and `training`: `status`
    (`seen` in training, `unseen` or `unknown`), `because`, and for each split in `rows` how
    many evaluated rows were also trained on. A cluster has for each split the `mean` over its
    datasets and its `interval`, and the mean of their `best_dev` test scores.
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
                "unknown": _training(known, label).get("unknown", ["what it was trained on"]),
                "modes": {
                    mode: _mode(datasets, _training(known, label))
                    for mode, datasets in modes.items()
                },
            }
            for label, modes in grouped.items()
        },
    }


class _Dataset(NamedTuple):
    """A dataset's entry of the summary, and what only its cluster needs."""

    entry: dict[str, Any]
    replicates: dict[str, np.ndarray]  # split -> of the mean over templates


def _training(checkpoints: Mapping[str, Mapping[str, Any]], label: str) -> Mapping[str, Any]:
    """What a results folder says of a checkpoint's training (`evaluation.training.entry_of`)."""
    entry = checkpoints.get(label, {}).get("training")
    return entry if isinstance(entry, dict) else {}


def _mode(by_dataset: Mapping[str, Sequence[Cell]], training: Mapping[str, Any]) -> dict[str, Any]:
    datasets = {name: _dataset(cells) for name, cells in by_dataset.items()}
    for name, dataset in datasets.items():
        dataset.entry["training"] = _exposure(name, training)
    found = {d.entry["cluster"] for d in datasets.values()}
    clusters = {}
    for cluster in [*CLUSTERS, *sorted(found - CLUSTERS.keys())]:
        members = {n: d for n, d in datasets.items() if d.entry["cluster"] == cluster}
        if members:
            clusters[cluster] = _cluster(members)
    return {"datasets": {n: d.entry for n, d in datasets.items()}, "clusters": clusters}


def _cluster(members: Mapping[str, _Dataset]) -> dict[str, Any]:
    found: dict[str, Any] = {"splits": {}, "best_dev": None}
    for split in SPLITS:
        means = {
            n: d.entry["splits"][split]["mean"]
            for n, d in members.items()
            if d.entry["splits"].get(split, {}).get("mean") is not None
        }
        if means:
            found["splits"][split] = {
                "mean": statistics.fmean(means.values()),
                "interval": _interval([members[n].replicates.get(split) for n in means]),
                "datasets": sorted(means),
            }
    best = {n: d.entry["best_dev"]["test"] for n, d in members.items() if d.entry["best_dev"]}
    if best:
        found["best_dev"] = {"test": statistics.fmean(best.values()), "datasets": sorted(best)}
    return found


def _exposure(dataset: str, training: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a dataset's rows in a checkpoint's training."""
    told = training.get("datasets", {}).get(dataset, {})
    rows: dict[str, dict[str, int]] = {}
    for name, counts in training.get("rows", {}).items():
        of, _, split = name.split("/")
        if of == dataset:
            sums = rows.setdefault(split, dict.fromkeys(("rows", "exact", "near"), 0))
            for kind in sums:
                sums[kind] += counts[kind]
    return {
        "status": told.get("status", "unknown"),
        "because": list(told.get("because", ())),
        "rows": rows,
    }


def _dataset(cells: Sequence[Cell]) -> _Dataset:
    by_split = {s: [c for c in cells if c.id.split == s] for s in SPLITS}
    splits = {s: _split(found) for s, found in by_split.items() if found}
    replicates = {s: _pooled_replicates(by_split[s], e["templates"]) for s, e in splits.items()}
    scores = {s: entry["templates"] for s, entry in splits.items()}
    entry = {
        "cluster": cells[0].cluster,
        "main_metric": cells[0].main_metric,
        "splits": splits,
        "best_dev": best_dev(
            scores.get("dev", {}),
            scores.get("test", {}),
            replicates.get("dev", {}),
            replicates.get("test", {}),
        ),
    }
    means = {s: np.mean(list(found.values()), axis=0) for s, found in replicates.items() if found}
    return _Dataset(entry, means)


def _split(cells: Sequence[Cell]) -> dict[str, Any]:
    """One split of a dataset.

    `templates` (id -> pooled main metric), its `mean`, `std` and `interval`, each template's
    interval in `intervals`, `rows`, `metrics` (each metric's pooled mean and std), and
    `sources` with the same for each source alone. `mixed` says that the cells were not all
    computed on the same rows with the same settings, so that their mean means little.
    """
    sources = sorted({c.id.source for c in cells})
    by_source = {s: [c for c in cells if c.id.source == s] for s in sources}
    alone = {s: {c.id.template: c.metrics for c in found} for s, found in by_source.items()}
    complete = [t for t in _templates(cells) if all(t in found for found in alone.values())]
    pooled = {t: _mean_metrics([alone[s][t] for s in sources]) for t in complete}
    main = cells[0].main_metric
    rows = sum(max(c.counts.get("rows", 0) for c in found) for found in by_source.values())
    return {
        **_over_templates(pooled, main, _pooled_replicates(cells, complete)),
        "rows": rows,
        "mixed": any(len({_conditions(c) for c in found}) > 1 for found in by_source.values()),
        "ties": sum(c.counts.get("ties", 0) for c in cells),
        "cut_prompts": sum(c.counts.get("cut_prompts", 0) for c in cells),
        "sources": {
            s: _over_templates(alone[s], main, _pooled_replicates(by_source[s], alone[s]))
            for s in sources
        },
    }


def _pooled_replicates(cells: Sequence[Cell], templates: Iterable[str]) -> dict[str, np.ndarray]:
    """Template -> replicates of its mean over sources, where all its cells have as many."""
    found = {}
    for template in templates:
        of = [c.replicates for c in cells if c.id.template == template]
        if of and of[0] and len({len(r) for r in of}) == 1:
            found[template] = np.mean(np.array(of, np.float64), axis=0)
    if len({len(r) for r in found.values()}) > 1:
        return {}
    return found


def _interval(replicates: Sequence[np.ndarray | None]) -> list[float] | None:
    """The interval of a mean, from the replicates of its parts; None where some have none."""
    known = [r for r in replicates if r is not None]
    if not known or len(known) < len(replicates) or len({len(r) for r in known}) > 1:
        return None
    return [*interval(np.mean(known, axis=0))]


def _conditions(cell: Cell) -> str:
    """What cells must share to be compared: all that made their keys, but for the template."""
    apart = ("template", "seconds", "versions", "training")
    return content_hash({k: v for k, v in cell.details.items() if k not in apart})


def _templates(cells: Iterable[Cell]) -> list[str]:
    """Template ids in natural order: t2 before t10."""
    ids = {c.id.template for c in cells}
    return sorted(ids, key=lambda t: (len(t), t))


def _mean_metrics(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    shared = set.intersection(*(set(m) for m in metrics))
    return {n: statistics.fmean(m[n] for m in metrics) for n in sorted(shared)}


def _over_templates(
    by_template: Mapping[str, Mapping[str, float]], main: str, replicates: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    values = {t: m[main] for t, m in by_template.items()}
    names = sorted({n for m in by_template.values() for n in m})
    return {
        "templates": values,
        **mean_and_std(list(values.values())),
        "interval": _interval([replicates.get(t) for t in values]),
        "intervals": {t: [*interval(replicates[t])] for t in values if t in replicates},
        "metrics": {n: mean_and_std([m[n] for m in by_template.values() if n in m]) for n in names},
    }


def mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation (n - 1); None where there are too few values."""
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }


def best_dev(
    dev: Mapping[str, float],
    test: Mapping[str, float],
    dev_replicates: Mapping[str, np.ndarray] = MappingProxyType({}),
    test_replicates: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> dict[str, Any] | None:
    """The template with the highest dev score among those that also have a test score.

    The first in natural order wins a tie. None where no template has both.

    Returns:
      `template`, its `dev` and `test` scores, `candidates` (templates to choose from), and
      where all of them have replicates: `interval` of its test score, `chosen_again` (how
      often, in [0, 1], other dev rows would have chosen the same template) and
      `choice_interval` (of the test score with the choice made anew for each sample of dev
      rows; what is wider than `interval` is the doubt about the choice).
    """
    both = sorted(dev.keys() & test.keys(), key=lambda t: (len(t), t))
    if not both:
        return None
    best = max(both, key=lambda t: dev[t])
    found = {"template": best, "dev": dev[best], "test": test[best], "candidates": len(both)}
    doubt: dict[str, Any] = {"interval": None, "chosen_again": None, "choice_interval": None}
    if dev_replicates.keys() >= set(both) <= test_replicates.keys():
        on_dev = np.array([dev_replicates[t] for t in both])
        on_test = np.array([test_replicates[t] for t in both])
        if on_dev.shape == on_test.shape:
            chosen = on_dev.argmax(axis=0)
            again = on_test[chosen, np.arange(on_test.shape[1])]
            doubt = {
                "interval": [*interval(test_replicates[best])],
                "chosen_again": round(float(np.mean(chosen == both.index(best))), 3),
                "choice_interval": [*interval(again)],
            }
    return found | doubt
