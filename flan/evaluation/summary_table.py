"""A summary as a table of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan.evaluation.summary import SPLITS

COLUMNS = (
    "dataset",
    "metric",
    "templates",
    "rows",
    "dev",
    "test",
    "95% interval",
    "best-dev template",
)


def table_rows(
    mode: Mapping[str, Any], datasets: Iterable[str] | None = None
) -> list[tuple[str, ...]]:
    """A mode's summary as text, clusters first and their datasets under them.

    Args:
      mode: an entry of `modes`.
      datasets: only these.

    Returns:
      The cells under `COLUMNS`: dev and test as mean and standard deviation over templates, a
      95% interval over examples of the test mean, and the test score of the template that was
      best on dev with its id, and how often other dev rows would have chosen it.
    """
    chosen = set(mode["datasets"] if datasets is None else datasets)
    rows: list[tuple[str, ...]] = []
    for cluster, entry in mode["clusters"].items():
        members = [n for n, d in mode["datasets"].items() if d["cluster"] == cluster]
        if not chosen.intersection(members):
            continue
        means = [entry["splits"].get(split, {}).get("mean") for split in SPLITS]
        best = f"{entry['best_dev']['test']:.1f}" if entry["best_dev"] else ""
        interval = entry["splits"].get("test", {}).get("interval")
        rows.append((cluster, "", "", "", *map(_number, means), interval_text(interval), best))
        for name in members:
            if name in chosen:
                rows.append(_dataset_row(name, mode["datasets"][name]))
    return rows


def _dataset_row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    splits = [entry["splits"].get(split) for split in SPLITS]
    largest = next(s for s in reversed(splits) if s)
    best = entry["best_dev"]
    mixed = " (mixed settings)" if any(s["mixed"] for s in splits if s) else ""
    seen = " (seen in training)" if entry["training"]["status"] == "seen" else ""
    return (
        f"  {name}{seen}{mixed}",
        entry["main_metric"],
        str(len(largest["templates"])),
        str(largest["rows"]),
        *(_number(s["mean"], s["std"]) if s else "" for s in splits),
        interval_text(splits[-1]["interval"]) if splits[-1] else "",
        best_dev_text(best["test"], best["template"], best["chosen_again"]) if best else "",
    )


def training_notes(checkpoint: Mapping[str, Any], mode: str, datasets: Iterable[str]) -> list[str]:
    """Lines under a table: what is not known of the training, and rows that it shares.

    Args:
      checkpoint: its entry of the summary.
      mode: which of its modes.
      datasets: only these.
    """
    notes = []
    if checkpoint["unknown"]:
        notes.append(f"training data unknown: {'; '.join(checkpoint['unknown'])}")
    found = checkpoint["modes"][mode]["datasets"]
    shared = []
    for name in dict.fromkeys(datasets):
        for split, counts in found[name]["training"]["rows"].items():
            if counts["exact"] or counts["near"]:
                shared.append(f"{name} {split} {rows_text(counts)}")
    if shared:
        notes.append(f"rows that training had, too: {', '.join(shared)}")
    return notes


def rows_text(counts: Mapping[str, int]) -> str:
    """`3 exactly and 1 nearly of 277`."""
    return f"{counts['exact']:,} exactly and {counts['near']:,} nearly of {counts['rows']:,}"


def interval_text(interval: Sequence[float] | None) -> str:
    """`[50.1, 58.2]`, or nothing."""
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]" if interval else ""


def best_dev_text(test: float, template: str = "", chosen_again: float | None = None) -> str:
    """`56.0 (t3, 84%)`: a best-dev template's test score, its id, how often it is chosen again."""
    doubt = "" if chosen_again is None else f", {chosen_again:.0%}"
    return f"{test:.1f} ({template}{doubt})" if template else f"{test:.1f}"


def _number(mean: float | None, std: float | None = None) -> str:
    if mean is None:
        return ""
    return f"{mean:.1f}" if std is None else f"{mean:.1f} \u00b1 {std:.1f}"
