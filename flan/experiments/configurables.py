"""What an experiment's gin file may configure, by the names it uses. Imports no JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flan.experiments.backends.jobset import JobSetSettings
from flan.experiments.backends.skypilot import SkyPilotSettings
from flan.experiments.backends.slurm import SlurmSettings
from flan.experiments.definitions import EXPERIMENTS
from flan.experiments.graph import EvaluationSettings

# What an experiment runs on says nothing of its jobs: another partition makes none run again.
BACKENDS: dict[str, Callable[..., Any]] = {
    "slurm": SlurmSettings,
    "skypilot": SkyPilotSettings,
    "jobset": JobSetSettings,
}
_TARGETS: tuple[Callable[..., Any], ...] = (
    EvaluationSettings,
    *EXPERIMENTS.values(),
    *BACKENDS.values(),
)
CONFIGURABLES: dict[str, Callable[..., Any]] = {target.__name__: target for target in _TARGETS}
