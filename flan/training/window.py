"""Metrics of the steps since the last line of the log: fetched, checked and averaged together."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from flan.data import atomic
from flan.data.batch import Batch


class NonFiniteLossError(ValueError):
    """A loss, gradient or parameter became NaN or infinite.

    Attributes:
      step: whose loss it is, or whose update made these parameters.
      proven: the last step whose parameters are known to be sound: the step after it had a
        finite loss and gradient.
    """

    def __init__(self, step: int, message: str, proven: int) -> None:
        super().__init__(message)
        self.step, self.proven = step, proven


@dataclasses.dataclass(frozen=True)
class Reporting:
    """What is told of a step beside its own metrics.

    Attributes:
      steps: of the whole run, for the time that is left.
      learning_rate: of a step, counted from 0.
      flops: model FLOPs of a step (`flan.models.flops`), over all devices.
      peak_flops: what all devices could do in a second; None where that is not known.
    """

    steps: int
    learning_rate: Callable[[int], float] | None = None
    flops: float | None = None
    peak_flops: float | None = None


class Window:
    """Collects metrics, which stay on the device until they are asked for."""

    def __init__(self, reporting: Reporting) -> None:
        self._reporting = reporting
        self._steps: list[int] = []
        self._metrics: list[dict[str, jax.Array]] = []
        self._since = time.perf_counter()

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of a step, see `make_train_step`."""
        self._steps.append(step)
        self._metrics.append(metrics)

    def restart_clock(self) -> None:
        """Leaves what happened since the last flush out of the speed."""
        self._since = time.perf_counter()

    def flush(self) -> tuple[int, dict[str, float]] | None:
        """Waits for the devices; the last step and the window's means. None without steps.

        Raises NonFiniteLossError for the first step whose loss, gradient or updated parameters
        are no numbers.
        """
        if not self._steps:
            return None
        fetched = [{k: float(v) for k, v in m.items()} for m in jax.device_get(self._metrics)]
        for step, values in zip(self._steps, fetched, strict=True):
            _check(step, values)
        elapsed = time.perf_counter() - self._since
        last = self._steps[-1]
        means = self._means(fetched, last, elapsed)
        self._steps, self._metrics, self._since = [], [], time.perf_counter()
        return last, means

    def _means(
        self, fetched: list[dict[str, float]], last: int, elapsed: float
    ) -> dict[str, float]:
        count = len(fetched)
        targets = sum(m["targets"] for m in fetched)
        means = {}
        if targets:  # without any there is no loss, rather than one of 0
            # Each target token counts the same, whatever batch it came in.
            for name in ("loss", "accuracy"):
                means[name] = sum(m[name] * m["targets"] for m in fetched) / targets
        means |= {
            "grad_norm": sum(m["grad_norm"] for m in fetched) / count,
            "param_norm": fetched[-1]["param_norm"],
            "tokens_per_step": sum(m["tokens"] for m in fetched) / count,
            "targets_per_step": targets / count,
            "tokens_per_second": sum(m["tokens"] for m in fetched) / elapsed,
            "seconds_per_step": elapsed / count,
            "seconds_left": (self._reporting.steps - last) * elapsed / count,
        }
        about = self._reporting
        if about.learning_rate is not None:
            means["learning_rate"] = float(about.learning_rate(last - 1))
        if about.flops is not None:
            means["model_flops_per_second"] = about.flops * count / elapsed
            if about.peak_flops is not None:
                means["mfu"] = means["model_flops_per_second"] / about.peak_flops
        return means


def _check(step: int, values: dict[str, float]) -> None:
    """NonFiniteLossError where a step's metrics say that it must not be built upon."""
    advice = (
        f"Its batch is data.batch({step - 1}). Lower the learning rate, clip gradients, or look at "
        "that batch"
    )
    if not math.isfinite(values["loss"]) or not math.isfinite(values["grad_norm"]):
        found = f"loss {values['loss']}, gradient norm {values['grad_norm']}"
        raise NonFiniteLossError(step, f"step {step}: {found}. {advice}", step - 2)
    # Loss and gradient are those of the parameters before the update.
    if not math.isfinite(values["param_norm"]):
        found = f"the parameters became {values['param_norm']} (their norm after its update)"
        raise NonFiniteLossError(step, f"step {step}: {found}. {advice}", step - 1)


def check_scores(step: int, scores: dict[str, float]) -> None:
    """NonFiniteLossError where the parameters after a step give dev scores that are no numbers."""
    bad = [f"{name} {value}" for name, value in scores.items() if not math.isfinite(value)]
    if bad:
        raise NonFiniteLossError(
            step,
            f"step {step}: the parameters after it give dev scores that are no numbers "
            f"({', '.join(bad)}). Lower the learning rate or clip gradients",
            step - 1,
        )


def shown(means: dict[str, float]) -> str:
    """A window's means for the progress bar, which tells the time left itself."""
    loss = f"loss {means['loss']:.3f}" if "loss" in means else "no tokens with loss"
    text = f"{loss}, {means['tokens_per_second']:,.0f} tokens/s"
    return f"{text}, MFU {means['mfu']:.1%}" if "mfu" in means else text


def save_batch(model_dir: Path, step: int, batch: Batch) -> Path:
    """Writes the batch that gradient step `step` (from 1) read; returns the file's path."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **batch._asdict())
    several = jax.process_count() > 1
    process = f".process_{jax.process_index()}" if several else ""
    path = model_dir / f"bad_batch_{step}{process}.npz"
    atomic.write_file(path, content.getvalue())
    return path
