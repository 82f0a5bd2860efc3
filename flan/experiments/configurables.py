"""What an experiment's gin file may configure, by the names it uses. Imports no JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flan.experiments.definitions import EXPERIMENTS
from flan.experiments.graph import EvaluationSettings

_TARGETS: tuple[Callable[..., Any], ...] = (EvaluationSettings, *EXPERIMENTS.values())
CONFIGURABLES: dict[str, Callable[..., Any]] = {target.__name__: target for target in _TARGETS}
