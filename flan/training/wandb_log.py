"""Metrics to Weights & Biases, where a run asks for it (extra `wandb`)."""

from __future__ import annotations

import importlib
import uuid
from pathlib import Path
from typing import Any

from flan import processes
from flan.checkpoints import layout
from flan.data import atomic


class WandbLog:
    """A run of Weights & Biases; one run for all resumes of a model folder.

    Where it is offline (WANDB_MODE=offline) its files lie in the model folder.
    """

    def __init__(self, module: Any, project: str) -> None:
        self._module, self._project = module, project
        self._run: Any = None

    def start(self, model_dir: Path) -> None:
        """Begins the run, or goes on with it."""
        path = model_dir / layout.WANDB_FILE
        if not path.is_file():
            atomic.write_file(path, uuid.uuid4().hex[:16].encode())
        config = model_dir / layout.CONFIG_FILE
        self._run = self._module.init(
            project=self._project,
            name=model_dir.resolve().name,
            id=path.read_text(encoding="utf-8"),
            resume="allow",
            dir=str(model_dir),
            config={"gin": config.read_text(encoding="utf-8") if config.is_file() else ""},
        )
        # A killed run repeats steps, which its own counter would refuse.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: dict[str, float]) -> None:
        """Logs the values of a step."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        """Ends the run's upload."""
        if self._run is not None:
            self._run.finish()


def open_wandb(project: str | None) -> WandbLog | None:
    """The log of that project on process 0, not begun; None where none is asked for.

    Raises ValueError where the package is missing.
    """
    if project is None or not processes.is_first():
        return None
    try:
        module = importlib.import_module("wandb")
    except ImportError as error:
        raise ValueError(
            f"WANDB_PROJECT={project} needs the package wandb: pip install 'flan-jax[wandb]'"
        ) from error
    return WandbLog(module, project)
