"""Experiments with few trained parameters: soft prompts (section 4.5), and LoRA beside full tuning."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from flan.catalog import clusters
from flan.experiments.runs import (
    RunSpec,
    base_run,
    check_whole,
    leave_out,
    mixture_of,
    some_clusters,
)
from flan.templates.renderings import parse_rendering


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptTuning:
    """Soft prompts on the frozen initial model and on an instruction-tuned one (section 4.5).

    A prompt is tuned for each task, with all its training examples and with few. The tuned
    model has seen nothing of the task's cluster.

    Attributes:
      tasks: datasets; those of SuperGLUE in the paper.
      examples: training rows of a task at most; None for all.
      rendering: how the tasks are phrased, in training and evaluation: the prompt stands in
        the place of an instruction.
      learning_rate: of the prompts; `LEARNING_RATE` is that of the tuned models.
    """

    tasks: Sequence[str] = (*("bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc"),)
    examples: Sequence[int | None] = (None, 32)
    rendering: str = "no_template"
    learning_rate: float = 0.3

    def runs(self) -> list[RunSpec]:
        """`base`, the tuned models, then for each task its prompts on both."""
        tasks = clusters.expand(self.tasks)
        if not tasks:
            raise ValueError("prompt_tuning needs tasks to tune prompts for, got none")
        check_whole("PromptTuning.examples", self.examples, 1)
        of_cluster: dict[str, list[str]] = {}
        for task in tasks:
            of_cluster.setdefault(clusters.cluster_of(task), []).append(task)
        tuned = [
            RunSpec(
                name=f"tuned-{cluster}",
                mixture=leave_out([cluster]),
                evaluate=tuple(names),
                held_out=(cluster,),
                tags={"held_out": cluster},
            )
            for cluster, names in of_cluster.items()
        ]
        starts = ("base", "tuned")
        prompts = [
            self._prompt(task, start, count)
            for task, start, count in itertools.product(tasks, starts, self.examples)
        ]
        return [base_run(tasks), *tuned, *prompts]

    def _prompt(self, task: str, start: str, count: int | None) -> RunSpec:
        settings: dict[str, object] = {"LEARNING_RATE": self.learning_rate}
        if count is not None:
            settings |= {"InstructionData.cap": count, "SeqioData.cap": count}
        return RunSpec(
            name=f"{task}-on-{start}-{count or 'all'}",
            mixture=mixture_of([task], self.rendering),
            evaluate=(task,),
            modes=(parse_rendering(self.rendering).name,),
            gin_files=("configs/peft/prompt.gin",),
            settings=settings,
            tags={"prompt": f"prompt on {start}", "examples": count or "all examples"},
            starts_from=f"tuned-{clusters.cluster_of(task)}" if start == "tuned" else None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullVsLora:
    """All parameters tuned, beside low-rank adapters, on the same mixtures.

    Attributes:
      clusters: to hold out in turn.
      ranks: of the adapters.
      lora_learning_rate: `LEARNING_RATE` is that of all parameters.
    """

    clusters: Sequence[str] = ("nli", "closed_book_qa", "commonsense")
    ranks: Sequence[int] = (8,)
    lora_learning_rate: float = 3e-4

    def runs(self) -> list[RunSpec]:
        """`base`, then for each cluster the full run and one for each rank."""
        names = some_clusters(self.clusters)
        check_whole("FullVsLora.ranks", self.ranks, 1)
        found = [base_run(names)]
        for cluster in names:
            full = RunSpec(
                name=f"{cluster}-full",
                mixture=leave_out([cluster]),
                evaluate=(cluster,),
                held_out=(cluster,),
                tags={"held_out": cluster, "method": "full"},
            )
            found.append(full)
            for rank in self.ranks:
                found.append(
                    dataclasses.replace(
                        full,
                        name=f"{cluster}-lora-{rank}",
                        gin_files=("configs/peft/lora.gin",),
                        settings={"Lora.rank": rank, "LEARNING_RATE": self.lora_learning_rate},
                        tags={"held_out": cluster, "method": "LoRA", "rank": rank},
                    )
                )
        return found
