"""What an orchestrator of containers or machines is given to start: jobs that run in one place."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from typing import Literal

from flan.experiments.graph import Job

Kind = Literal["cpu", "train", "eval"]
_LONGEST = 40  # of a name; Kubernetes' 63 have to hold what it adds for a pod


@dataclasses.dataclass(frozen=True)
class Unit:
    """Jobs that run one after another in the same place.

    Attributes:
      name: lower case letters, digits and hyphens, at most 40.
      jobs: names of jobs.
      needs: names of units.
      kind: what they run on: any machine, the accelerators for training (on every host of
        them) or those for evaluation.
    """

    name: str
    jobs: tuple[str, ...]
    needs: tuple[str, ...]
    kind: Kind


def units(jobs: Sequence[Job], prefix: str, together: bool) -> list[Unit]:
    """Jobs as units, each after those it needs.

    Args:
      jobs: each after those it needs.
      prefix: what the units' names begin with.
      together: whether a run's training and evaluation share a place.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        run = job.name.rpartition("/")[0]
        groups.setdefault(run if run and together else job.name, []).append(job)
    own: dict[str, str] = {}
    for key in groups:
        name = unit_name(prefix, key)
        own[key] = unit_name(prefix, key, exact=True) if name in own.values() else name
    names = {job.name: own[key] for key, members in groups.items() for job in members}
    found = []
    for key, members in groups.items():
        needs = dict.fromkeys(names[n] for job in members for n in job.needs)
        kind: Kind = "cpu"
        if "/" in members[0].name:
            kind = "train" if members[0].name.endswith("/train") else "eval"
        others = tuple(name for name in needs if name != own[key])
        found.append(Unit(own[key], tuple(job.name for job in members), others, kind))
    return found


def waves(found: Sequence[Unit]) -> list[list[Unit]]:
    """Units by when they may begin: each wave needs the earlier ones alone."""
    depth: dict[str, int] = {}
    ordered: list[list[Unit]] = []
    for unit in found:
        depth[unit.name] = 1 + max((depth[n] for n in unit.needs), default=-1)
        if depth[unit.name] == len(ordered):
            ordered.append([])
        ordered[depth[unit.name]].append(unit)
    return ordered


def unit_name(prefix: str, key: str, exact: bool = False) -> str:
    """A name that machines, pods and DNS take; `exact` tells apart those that look alike."""
    full = f"{prefix}/{key}"
    name = re.sub(r"[^a-z0-9]+", "-", full.lower()).strip("-")
    if len(name) <= _LONGEST and name[:1].isalpha() and not exact:
        return name
    digest = hashlib.sha256(full.encode()).hexdigest()[:6]
    return f"flan-{name}"[: _LONGEST - 7].rstrip("-") + f"-{digest}"
