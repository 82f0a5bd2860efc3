"""Whether what is evaluated was trained on, by the catalog's clusters and overlap rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from flan.catalog.clusters import CLUSTERS, dropped_clusters
from flan.catalog.registry import get_dataset
from flan.data.training_record import TrainingRecord

_TOLD = 4  # leaks of an evaluated cluster; of more, how many
_HOW = {"text": "as raw text, answers left out"}


@dataclasses.dataclass(frozen=True)
class Leak:
    """Training that touched what is evaluated.

    Attributes:
      dataset: what was trained on.
      cluster: its cluster.
      rule: why it must not be, in words.
      how: in what form, where not as instructions; else empty.
    """

    dataset: str
    cluster: str
    rule: str
    how: str = ""

    def __str__(self) -> str:
        form = f" ({self.how})" if self.how else ""
        return f"{self.dataset}{form}: {self.rule}"


class SeenInTraining(ValueError):
    """A checkpoint was trained on what it is to be evaluated on."""


def leaks_of(trained: Mapping[str, tuple[str, str]], evaluated: str) -> list[Leak]:
    """Training datasets that must not have been read when one is evaluated.

    Args:
      trained: dataset -> its cluster, and in what form it was read.
      evaluated: name of a dataset.

    Raises ValueError for an unknown evaluated dataset.
    """
    cluster = get_dataset(evaluated).cluster
    dropped = dropped_clusters(cluster) if cluster in CLUSTERS else (cluster,)
    found = []
    for name, (of, how) in trained.items():
        if name == evaluated:
            rule = "the very dataset that is evaluated"
        elif of == cluster:
            rule = f"of the evaluated cluster {cluster}"
        elif of in dropped:
            rule = f"of {of}, which overlaps with the evaluated cluster {cluster}"
        else:
            continue
        found.append(Leak(name, of, rule, how))
    return found


def trained_on(record: TrainingRecord) -> dict[str, tuple[str, str]]:
    """Dataset -> its cluster, and in what form it was read; instructions count before raw text."""
    found: dict[str, tuple[str, str]] = {}
    for run in record.runs:
        for entry in run.datasets:
            how = _HOW.get(run.data, "")
            if entry.rows and (entry.dataset not in found or not how):
                found[entry.dataset] = (entry.cluster, how)
    return found


def find_leaks(record: TrainingRecord | None, evaluated: Iterable[str]) -> dict[str, list[Leak]]:
    """Evaluated dataset -> leaks, for those that have some; none where no training is known."""
    if record is None:
        return {}
    trained = trained_on(record)
    return {name: found for name in evaluated if (found := leaks_of(trained, name))}


def refuse(who: str, leaks: Mapping[str, Sequence[Leak]], remedy: str) -> None:
    """SeenInTraining that names what was trained on, cluster by cluster; nothing without leaks."""
    if not leaks:
        return
    lines = []
    clusters: dict[str, list[str]] = {}
    for name in leaks:
        clusters.setdefault(get_dataset(name).cluster, []).append(name)
    for cluster, names in clusters.items():
        told = list(dict.fromkeys(str(leak) for name in names for leak in leaks[name]))
        more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
        lines.append(f"- {', '.join(names)} ({cluster}): {'; '.join(told[:_TOLD] + more)}")
    raise SeenInTraining(
        f"{who} was trained on what it is to be evaluated on, so its scores would not be those of "
        "an unseen task:\n" + "\n".join(lines) + f"\n{remedy}"
    )
