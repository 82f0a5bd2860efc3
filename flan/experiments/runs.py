"""What an experiment consists of: models to train, and what each is evaluated on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from flan.catalog import clusters
from flan.evaluation.modes import parse_mode
from flan.templates.renderings import parse_rendering

BASE = "base"
_SAFE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One model of an experiment.

    Attributes:
      name: names its folder and its column in results.
      mixture: what it is tuned on, as `MIXTURE_OR_TASK_NAME` takes it; None leaves the
        initial model as it is.
      evaluate: datasets and clusters to score it on.
      modes: ways of asking, see `flan.evaluation.modes`.
      held_out: clusters that it must not have seen.
      gin_files: read after the experiment's own, for a size of its own, say.
      settings: gin bindings of this run alone, name -> value.
      tags: what sets it apart from the experiment's other runs, for reports: name -> value.
      starts_from: name of the run whose model it starts from, in the place of the initial one.
    """

    name: str
    mixture: str | None
    evaluate: tuple[str, ...]
    modes: tuple[str, ...] = ("instructions",)
    held_out: tuple[str, ...] = ()
    gin_files: tuple[str, ...] = ()
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    tags: Mapping[str, str | int] = dataclasses.field(default_factory=dict)
    starts_from: str | None = None

    def __post_init__(self) -> None:
        if not _SAFE.fullmatch(self.name):
            raise ValueError(f"run name {self.name!r} cannot name a folder")
        if not self.modes:
            raise ValueError(f"run {self.name!r} has no modes to be asked in: give one or more")
        for mode in self.modes:
            parse_mode(mode)
        if self.mixture is not None:
            check_held_out(self.mixture.split(","), self.held_out, self.name)


class Experiment(Protocol):
    """Anything that expands into runs."""

    def runs(self) -> list[RunSpec]:
        """The runs, in the order in which reports show them."""


def check_held_out(names: Sequence[str], held_out: Sequence[str], run: str) -> None:
    """ValueError where a mixture has a dataset that may not train with these clusters held out."""
    from flan.data.names import parse_task_name

    allowed = set(clusters.training_datasets(held_out))
    extra = set(clusters.EXTRA)
    for name in names:
        wrong = [d for d in parse_task_name(name).datasets if d not in allowed | extra]
        if wrong:
            raise ValueError(
                f"run {run!r} holds out {', '.join(held_out)} and would train on "
                f"{', '.join(wrong)}: leave these out of its mixture"
            )


def mixture_of(datasets: Sequence[str], rendering: str = "instructions") -> str:
    """Datasets in one rendering as a mixture's name: `flan_rte_5shot,flan_cb_5shot`."""
    suffix = parse_rendering(rendering).suffix
    return ",".join(f"flan_{name}{suffix}" for name in clusters.expand(datasets))


def leave_out(held_out: Sequence[str], rendering: str = "instructions") -> str:
    """The mixture of all that may train when clusters are held out."""
    if len(held_out) == 1:
        return f"flan_loo_{held_out[0]}{parse_rendering(rendering).suffix}"
    return mixture_of(clusters.training_datasets(held_out), rendering)


def base_run(evaluate: Sequence[str], modes: Sequence[str] = ("baseline",)) -> RunSpec:
    """The initial model, as it is."""
    return RunSpec(
        name=BASE, mixture=None, evaluate=tuple(evaluate), modes=tuple(modes), tags={"tuned": "no"}
    )


def check_whole(
    what: str, numbers: Sequence[int | None], least: int, most: int | None = None
) -> None:
    """ValueError unless there are numbers, each at least `least` and at most `most`; None may be."""
    span = f"{least} or more" if most is None else f"{least} to {most}"
    if not numbers:
        raise ValueError(f"{what} must be a list of one number or more ({span}), got none")
    for number in numbers:
        if number is not None and not least <= number <= (number if most is None else most):
            raise ValueError(f"{what} must be {span}, got {number}")


def some_clusters(names: Sequence[str]) -> tuple[str, ...]:
    """The clusters of these names, each once; ValueError for an unknown one, or none at all."""
    for name in names:
        clusters.cluster_datasets(name)
    if not names:
        raise ValueError("an experiment needs clusters to hold out, got none")
    return tuple(dict.fromkeys(names))
