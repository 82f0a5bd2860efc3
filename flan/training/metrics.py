"""Training metrics on disk: JSON lines and TensorBoard events."""

from __future__ import annotations

import json
from pathlib import Path

from tensorboardX import SummaryWriter

from flan.checkpoints import layout
from flan.data import atomic


class MetricsWriter:
    """Appends one line for each logged step, and the same as TensorBoard scalars."""

    def __init__(self, model_dir: Path, start_step: int = 0) -> None:
        """Opens the files; what was logged after `start_step` is dropped.

        A run that was killed after its last checkpoint repeats the steps since, and they
        must not stand in the log twice.
        """
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

    def write(self, step: int, values: dict[str, float]) -> None:
        """Logs the values of a step."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        """Flushes and closes both files."""
        self._file.close()
        self._events.close()


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
