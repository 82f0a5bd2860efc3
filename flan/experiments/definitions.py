"""The experiments of the paper (arXiv 2109.01652, sections 3 and 4), each as its runs.

All compare models tuned from one initial model with that model itself, which is asked with
baseline prompts (the run `base`). Settings come from `configs/experiments/*.gin`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from flan.catalog import clusters
from flan.experiments.adapters import FullVsLora, PromptTuning
from flan.experiments.runs import (
    BASE,
    Experiment,
    RunSpec,
    base_run,
    check_whole,
    leave_out,
    mixture_of,
    some_clusters,
)
from flan.templates.renderings import parse_rendering

# What the paper's main text and appendix evaluate; `misc` is a mixed bag, and
# reading comprehension with commonsense takes two other clusters with it.
EVALUATED = tuple(
    c for c in clusters.CLUSTERS if c not in ("misc", "reading_comprehension_commonsense")
)
# Section 4.1: the order in which clusters are added, and what is held out.
ADDED_CLUSTERS: tuple[tuple[str, ...], ...] = (
    ("summarization",),
    ("translation",),
    ("reading_comprehension",),
    ("sentiment",),
    ("struct_to_text",),
    ("coreference",),
    ("coqa", "quac"),  # conversational question answering
)
MOST_TEMPLATES = 10  # of a dataset
HELD_OUT = ("nli", "closed_book_qa", "commonsense")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """A model for each cluster, tuned on all that may train without it (section 3).

    Attributes:
      clusters: to hold out in turn.
      base_modes: how the initial model is asked.
    """

    clusters: Sequence[str] = EVALUATED
    base_modes: Sequence[str] = ("baseline",)

    def runs(self) -> list[RunSpec]:
        """`base`, then a run for each cluster."""
        names = some_clusters(self.clusters)
        tuned = [
            RunSpec(
                name=name,
                mixture=leave_out([name]),
                evaluate=(name,),
                held_out=(name,),
                tags={"held_out": name},
            )
            for name in names
        ]
        return [base_run(names, self.base_modes), *tuned]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumClusters:
    """Models tuned on 1, 2, ... 7 clusters (section 4.1).

    Attributes:
      counts: how many of the paper's clusters to tune on.
      held_out: clusters to evaluate on, the same for all.
    """

    counts: Sequence[int] = tuple(range(1, len(ADDED_CLUSTERS) + 1))
    held_out: Sequence[str] = HELD_OUT

    def runs(self) -> list[RunSpec]:
        """`base`, then a run for each count."""
        held_out = some_clusters(self.held_out)
        found = [base_run(held_out)]
        check_whole("NumClusters.counts", self.counts, 1, len(ADDED_CLUSTERS))
        for count in self.counts:
            names = list(itertools.chain.from_iterable(ADDED_CLUSTERS[:count]))
            found.append(
                RunSpec(
                    name=f"clusters-{count}",
                    mixture=mixture_of(names),
                    evaluate=held_out,
                    held_out=held_out,
                    tags={"clusters": count, "datasets": len(clusters.expand(names))},
                )
            )
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelScale:
    """Models of several sizes, each before and after tuning (section 4.2).

    Attributes:
      models: gin file of a size -> its pretrained model's folder.
      held_out: clusters to evaluate on.
    """

    models: Mapping[str, str]
    held_out: Sequence[str] = HELD_OUT

    def runs(self) -> list[RunSpec]:
        """For each size its initial model and the tuned one."""
        held_out = some_clusters(self.held_out)
        if not self.models:
            raise ValueError(
                "ModelScale.models must name a gin file of a size and its pretrained model, as in "
                "{'configs/models/small.gin': 'runs/small'}, got none"
            )
        found = []
        for gin_file, checkpoint in self.models.items():
            size = gin_file.rpartition("/")[2].removesuffix(".gin")
            tuned = RunSpec(
                name=size,
                mixture=leave_out(held_out),
                evaluate=held_out,
                held_out=held_out,
                gin_files=(gin_file,),
                settings={"INITIAL_CHECKPOINT_PATH": checkpoint},
                tags={"size": size, "tuned": "yes"},
            )
            untuned = dataclasses.replace(
                tuned,
                name=f"{BASE}-{size}",
                mixture=None,
                modes=("baseline",),
                held_out=(),
                tags={"size": size, "tuned": "no"},
            )
            found += [untuned, tuned]
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instructions:
    """What instructions are good for: tuned without templates, or with the dataset's name alone.

    Each is evaluated with instructions, the one tuned with names also with names (section 4.3).

    Attributes:
      clusters: to hold out in turn.
    """

    clusters: Sequence[str] = ("nli", "reading_comprehension", "closed_book_qa", "translation")

    def runs(self) -> list[RunSpec]:
        """`base`, then three runs for each cluster."""
        names = some_clusters(self.clusters)
        found = [base_run(names)]
        for cluster, rendering in itertools.product(
            names, ("instructions", "no_template", "dataset_name")
        ):
            named = rendering == "dataset_name"
            found.append(
                RunSpec(
                    name=f"{cluster}-{rendering}",
                    mixture=leave_out([cluster], rendering),
                    evaluate=(cluster,),
                    modes=("instructions", "dataset_name") if named else ("instructions",),
                    held_out=(cluster,),
                    tags={"held_out": cluster, "rendering": rendering},
                )
            )
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShot:
    """Tuned and evaluated with k exemplars before each query, beside zero-shot (section 4.4).

    Attributes:
      clusters: to hold out in turn.
      shots: numbers of exemplars, at most (within 960 tokens); 0 for none.
    """

    clusters: Sequence[str] = ("nli", "reading_comprehension", "closed_book_qa", "translation")
    shots: Sequence[int] = (0, 16)

    def runs(self) -> list[RunSpec]:
        """`base`, then a run for each cluster and number of shots."""
        names = some_clusters(self.clusters)
        check_whole("FewShot.shots", self.shots, 0)
        renderings = {k: f"{k}shot" if k else "instructions" for k in self.shots}
        for rendering in renderings.values():
            parse_rendering(rendering)
        modes = [f"baseline_{k}shot" if k else "baseline" for k in self.shots]
        return [
            base_run(names, modes),
            *(
                RunSpec(
                    name=f"{cluster}-{shots}shot",
                    mixture=leave_out([cluster], rendering),
                    evaluate=(cluster,),
                    modes=(rendering,),
                    held_out=(cluster,),
                    tags={"held_out": cluster, "shots": shots},
                )
                for cluster in names
                for shots, rendering in renderings.items()
            ),
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetsTemplates:
    """Models tuned on fewer datasets a cluster and fewer templates a dataset (appendix B.1).

    Attributes:
      templates: how many templates a dataset keeps, the first of its file.
      datasets: how many datasets a cluster keeps, the first of the catalog.
      held_out: clusters to evaluate on.
    """

    templates: Sequence[int] = (1, 4, 10)
    datasets: Sequence[int] = (1, 2, 3, 4)
    held_out: Sequence[str] = HELD_OUT

    def runs(self) -> list[RunSpec]:
        """`base`, then a run for each pair of numbers."""
        held_out = some_clusters(self.held_out)
        check_whole("DatasetsTemplates.templates", self.templates, 1, MOST_TEMPLATES)
        check_whole("DatasetsTemplates.datasets", self.datasets, 1)
        allowed = set(clusters.training_datasets(held_out))
        found = [base_run(held_out)]
        for count, templates in itertools.product(self.datasets, self.templates):
            names = [
                name
                for members in clusters.CLUSTERS.values()
                for name in [m for m in members if m in allowed][:count]
            ]
            found.append(
                RunSpec(
                    name=f"datasets-{count}-templates-{templates}",
                    mixture=mixture_of(names),
                    evaluate=held_out,
                    held_out=held_out,
                    settings={"NUM_TEMPLATES": templates},
                    tags={"datasets": count, "templates": templates},
                )
            )
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Untuned:
    """The initial model alone, with baseline prompts.

    Attributes:
      clusters: to evaluate on.
      modes: ways of asking.
    """

    clusters: Sequence[str] = EVALUATED
    modes: Sequence[str] = ("baseline",)

    def runs(self) -> list[RunSpec]:
        """`base` alone."""
        return [base_run(some_clusters(self.clusters), self.modes)]


# Command-line name -> definition; its settings lie in configs/experiments/<name>.gin.
EXPERIMENTS: dict[str, Callable[..., Experiment]] = {
    "leave_one_out": LeaveOneOut,
    "num_clusters": NumClusters,
    "model_scale": ModelScale,
    "instructions": Instructions,
    "few_shot": FewShot,
    "datasets_templates": DatasetsTemplates,
    "untuned": Untuned,
    "prompt_tuning": PromptTuning,
    "full_vs_lora": FullVsLora,
}
