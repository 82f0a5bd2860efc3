"""Task and mixture names, as seqio, gin files and the command line know them.

    flan_rte                 one dataset, all its templates
    flan_rte_t3              one template of it
    flan_rte_no_options      another rendering (see `flan.templates.renderings`)
    flan_all                 the 62 datasets
    flan_loo_nli             everything allowed in training when NLI is held out
    flan_loo_nli_5shot       the same in another rendering

Several names and plain dataset or cluster names may be joined with commas: `rte,sentiment`.
"""

from __future__ import annotations

import dataclasses
import re

from flan.catalog import clusters
from flan.suggest import unknown_name
from flan.templates.renderings import Rendering, parse_rendering

PREFIX = "flan_"
_TEMPLATE = re.compile(r"t\d+")


@dataclasses.dataclass(frozen=True)
class TaskName:
    """What a task's name says.

    Attributes:
      datasets: one for a task, many for a mixture, each once.
      template: the id of the only template to use, or None for all.
      rendering: how examples become text.
      held_out: clusters that a leave-one-out name holds out.
    """

    datasets: tuple[str, ...]
    template: str | None = None
    rendering: Rendering = Rendering()  # noqa: RUF009 - frozen
    held_out: tuple[str, ...] = ()


def parse_task_name(name: str) -> TaskName:
    """The task or mixture of that name; ValueError with near names for an unknown one."""
    parts = [part.strip() for part in name.split(",") if part.strip()]
    if not parts:
        raise ValueError(f"{name!r} names no task: give one such as 'flan_loo_nli' or 'flan_rte'")
    found = [_parse_one(part) for part in parts]
    first = found[0]
    if len(found) == 1:
        return first
    if any((t.template, t.rendering) != (None, first.rendering) for t in found):
        raise ValueError(f"{name!r}: joined names must share one rendering and use all templates")
    datasets = tuple(dict.fromkeys(d for t in found for d in t.datasets))
    held_out = tuple(dict.fromkeys(c for t in found for c in t.held_out))
    return TaskName(datasets, None, first.rendering, held_out)


def _parse_one(name: str) -> TaskName:
    if not name.startswith(PREFIX):
        return TaskName(clusters.expand([name]))
    rest = name.removeprefix(PREFIX)
    # Longest first, so that `reading_comprehension_commonsense` is not taken for
    # `reading_comprehension` with a rendering.
    matches = (s for s in _stems() if rest == s[0] or rest.startswith(f"{s[0]}_"))
    stem, datasets, held_out = next(matches, ("", (), ()))
    suffix = rest[len(stem) + 1 :]
    if not stem:
        raise ValueError(unknown_name("task or mixture", name, known_names(), limit=8))
    template = None
    first, _, others = suffix.partition("_")
    if _TEMPLATE.fullmatch(first) and len(datasets) == 1 and not held_out:
        template, suffix = first, others
    try:
        rendering = parse_rendering(suffix or "instructions")
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from None
    return TaskName(datasets, template, rendering, held_out)


def _stems() -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(name without prefix, datasets, held-out clusters) of all tasks and mixtures, longest first."""
    stems = [(d, (d,), ()) for d in (*clusters.all_datasets(), *clusters.EXTRA)]
    mixtures = [
        ("all", clusters.all_datasets(), ()),
        *((f"loo_{c}", clusters.training_datasets(c), (c,)) for c in clusters.CLUSTERS),
    ]
    return sorted([*stems, *mixtures], key=lambda stem: -len(stem[0]))


def known_names() -> list[str]:
    """All task and mixture names in their plain rendering, mixtures first."""
    mixtures = ["flan_all", *(f"flan_loo_{c}" for c in clusters.CLUSTERS)]
    return [*mixtures, *(PREFIX + d for d in (*clusters.all_datasets(), *clusters.EXTRA))]
