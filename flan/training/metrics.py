"""Training metrics: JSON lines and TensorBoard events on disk, Weights & Biases if asked for."""

from __future__ import annotations

import json
from pathlib import Path

from tensorboardX import SummaryWriter

from flan import processes
from flan.checkpoints import layout
from flan.data import atomic
from flan.training.wandb_log import WandbLog


class MetricsWriter:
    """Appends one line for each logged step, and the same as TensorBoard scalars.

    Of several processes the first one writes.
    """

    def __init__(self, model_dir: Path, start_step: int = 0, wandb: WandbLog | None = None) -> None:
        """Opens the files; what was logged after `start_step` is dropped.

        A run that was killed after its last checkpoint repeats the steps since, and they
        must not stand in the log twice.
        """
        self._writes = processes.is_first()
        self._wandb = wandb
        if not self._writes:
            return
        model_dir.mkdir(parents=True, exist_ok=True)
        self._path = model_dir / layout.METRICS_FILE
        if self._path.exists():
            kept = [line for line in read_metrics(self._path) if line["step"] <= start_step]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            atomic.write_file(self._path, text.encode())
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(
            str(model_dir / layout.TENSORBOARD), purge_step=start_step + 1, max_queue=100
        )
        if wandb is not None:
            wandb.start(model_dir)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Logs the values of a step; names without a folder are training's."""
        if not self._writes:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        named = {name if "/" in name else f"train/{name}": v for name, v in values.items()}
        for name, value in named.items():
            self._events.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.write(step, named)

    def close(self) -> None:
        """Flushes and closes all."""
        if not self._writes:
            return
        self._file.close()
        self._events.close()
        if self._wandb is not None:
            self._wandb.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl`; a last line cut off by a kill is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines
