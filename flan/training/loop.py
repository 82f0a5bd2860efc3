"""The training loop: fetch, step, log, save, in this order, until the last step."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from flan.checkpoints.manager import CheckpointManager
from flan.data.batch import Batch
from flan.data.loader import prefetch
from flan.progress import progress_bar
from flan.training.metrics import MetricsWriter
from flan.training.state import TrainState
from flan.training.step import Step, put_batch


class BatchSource(Protocol):
    """Where batches come from: a pure function of the step (from 0)."""

    @property
    def num_steps(self) -> int:
        """Batches there are: the steps of the run."""

    def batch(self, step: int) -> Batch:
        """The rows of this process of the batch that gradient step `step` reads."""


class Preempted(Exception):
    """SIGTERM arrived; the state was saved. Carries the step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped by SIGTERM; saved at step {step}")
        self.step = step


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite."""


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """When things happen.

    Attributes:
      steps: gradient steps in all, those before a resume included.
      log_every: steps between two lines of metrics; each save writes one too.
      save_every: steps between two checkpoints; the last step is always saved.
      keep: newest checkpoints that stay.
    """

    steps: int
    log_every: int = 10
    save_every: int = 1000
    keep: int = 3

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


def train_loop(
    state: TrainState,
    step: Step,
    data: BatchSource,
    config: LoopConfig,
    mesh: Mesh,
    manager: CheckpointManager,
    writer: MetricsWriter,
    metadata: dict[str, Any],
) -> TrainState:
    """Runs from the state's step to the last one.

    Args:
      state: fresh or restored; consumed.
      step: compiled gradient step.
      data: batches by step.
      config: periods.
      mesh: where batches go.
      manager: takes the checkpoints.
      writer: takes the metrics.
      metadata: saved with each checkpoint.

    Returns:
      The state after the last step, which is on disk.

    Raises:
      Preempted: on SIGTERM, after saving.
      NonFiniteLossError: the loss of a step is not a number; nothing is saved.
    """
    first = int(state.step)
    window = _Window(writer)
    with (
        _sigterm() as stop,
        progress_bar(config.steps, "train", "step", initial=first) as bar,
        _batches(data, first) as batches,
    ):
        for done, batch in enumerate(batches, first + 1):
            state, metrics = step(state, put_batch(batch, mesh))
            window.add(done, metrics)
            if done % config.log_every == 0 or done == config.steps:
                shown = window.flush()
                bar.set_postfix_str(
                    f"loss {shown['loss']:.3f}, {shown['tokens_per_second']:,.0f} tokens/s"
                )
            bar.update()
            if done == config.steps or done % config.save_every == 0 or stop:
                window.flush()  # raises on a bad loss before anything is saved
                manager.save(state, metadata)
            if stop and done < config.steps:
                manager.wait()
                raise Preempted(done)
    manager.wait()
    return state


class _Window:
    """Metrics of the steps since the last flush, still on the device."""

    def __init__(self, writer: MetricsWriter) -> None:
        self._writer = writer
        self._steps: list[int] = []
        self._metrics: list[dict[str, jax.Array]] = []
        self._since = time.perf_counter()
        self._shown: dict[str, float] = {}

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        self._steps.append(step)
        self._metrics.append(metrics)

    def flush(self) -> dict[str, float]:
        """Waits for the devices, checks and writes the window's means; returns them."""
        if not self._steps:
            return self._shown
        fetched = [{k: float(v) for k, v in m.items()} for m in jax.device_get(self._metrics)]
        for step, values in zip(self._steps, fetched, strict=True):
            if not math.isfinite(values["loss"]) or not math.isfinite(values["grad_norm"]):
                raise NonFiniteLossError(
                    f"step {step}: loss {values['loss']}, gradient norm {values['grad_norm']}. "
                    f"Its batch is data.batch({step - 1}); the last checkpoint is unharmed. Lower "
                    "the learning rate, clip gradients, or look at that batch"
                )
        elapsed = time.perf_counter() - self._since
        targets = sum(m["targets"] for m in fetched)
        means = {
            # Each target token counts the same, whatever batch it came in.
            name: sum(m[name] * m["targets"] for m in fetched) / max(targets, 1.0)
            for name in ("loss", "accuracy")
        }
        means |= {
            "grad_norm": sum(m["grad_norm"] for m in fetched) / len(fetched),
            "param_norm": fetched[-1]["param_norm"],
            "tokens_per_step": sum(m["tokens"] for m in fetched) / len(fetched),
            "targets_per_step": targets / len(fetched),
            "tokens_per_second": sum(m["tokens"] for m in fetched) / elapsed,
            "seconds_per_step": elapsed / len(fetched),
        }
        self._writer.write(self._steps[-1], means)
        self._steps, self._metrics, self._since = [], [], time.perf_counter()
        self._shown = means
        return means


class _Flag:
    """Becomes true when the signal arrives."""

    def __init__(self) -> None:
        self.raised = False

    def __bool__(self) -> bool:
        return self.raised


@contextlib.contextmanager
def _batches(data: BatchSource, first: int) -> Iterator[Iterator[Batch]]:
    """Batches made ahead by a thread, which ends with the block."""
    batches = prefetch(data, first)
    try:
        yield batches
    finally:
        batches.close()


@contextlib.contextmanager
def _sigterm() -> Iterator[_Flag]:
    """Catches SIGTERM within the block (in the main thread; elsewhere it never arrives)."""
    flag = _Flag()

    def note(signum: int, frame: FrameType | None) -> None:
        flag.raised = True

    try:
        before = signal.signal(signal.SIGTERM, note)
    except ValueError:
        yield flag
        return
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, before)
