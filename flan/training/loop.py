"""The training loop: fetch, step, log, evaluate, save, in this order, until the last step."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

from jax.sharding import Mesh

from flan import processes
from flan.checkpoints.manager import CheckpointManager
from flan.data.batch import Batch
from flan.data.loader import prefetch
from flan.progress import progress_bar
from flan.training.dev import Evaluate
from flan.training.metrics import MetricsWriter
from flan.training.profiling import Profiler
from flan.training.signals import Preempted, sigterm_noted
from flan.training.state import TrainState
from flan.training.step import Step, put_batch
from flan.training.window import (
    NonFiniteLossError,
    Reporting,
    Window,
    check_scores,
    save_batch,
    shown,
)


class BatchSource(Protocol):
    """Where batches come from: a pure function of the step (from 0)."""

    @property
    def num_steps(self) -> int:
        """Batches there are: the steps of the run."""

    def batch(self, step: int) -> Batch:
        """The rows of this process of the batch that gradient step `step` reads."""


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """When things happen.

    Attributes:
      steps: gradient steps in all, those before a resume included.
      log_every: steps between two lines of metrics; each save writes one too.
      save_every: steps between two checkpoints; the last step is always saved.
      keep: newest checkpoints that stay.
      eval_every: steps between two evaluations on dev rows; 0 for none.
      keep_best: the checkpoint with the highest mean dev accuracy stays as well, and is
        saved whenever an evaluation finds a better one.
      profile: "START:STOP", the steps (from 1, both included) that the profiler records;
        empty for none. The first step of a run compiles.
    """

    steps: int
    log_every: int = 10
    save_every: int = 1000
    keep: int = 3
    eval_every: int = 0
    keep_best: bool = False
    profile: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.eval_every < 0:
            raise ValueError(f"eval_every must be 0 (never) or more, got {self.eval_every}")
        if self.keep_best and not self.evaluates:
            raise ValueError(
                f"KEEP_BEST needs evaluations: an EVAL_PERIOD from 1 to the {self.steps} steps of "
                f"the run, got {self.eval_every}"
            )
        Profiler.parse(self.profile)

    @property
    def evaluates(self) -> bool:
        """Whether an evaluation comes before the last step, or at it."""
        return 0 < self.eval_every <= self.steps


def train_loop(
    state: TrainState,
    step: Step,
    data: BatchSource,
    config: LoopConfig,
    mesh: Mesh,
    manager: CheckpointManager,
    writer: MetricsWriter,
    metadata: dict[str, Any],
    *,
    batch_size: int | None = None,
    reporting: Reporting | None = None,
    evaluate: Evaluate | None = None,
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
      batch_size: rows of the whole batch, where several processes share it.
      reporting: what the log says beside the step's own metrics.
      evaluate: gives dev scores of parameters; None for none.

    Returns:
      The state after the last step, which is on disk.

    Raises:
      Preempted: on SIGTERM, after saving.
      NonFiniteLossError: loss, gradient, updated parameters or dev scores of a step are no
        numbers; nothing is saved but its batch.
    """
    first = int(state.step)
    window = Window(reporting or Reporting(config.steps))
    model_dir = manager.folder.parent
    with (
        sigterm_noted() as stop,
        progress_bar(
            config.steps, "train", "step", initial=first, disable=not processes.is_first()
        ) as bar,
        Profiler(model_dir, config.profile) as profiler,
        _bad_batch_kept(data, manager),
        _batches(data, first) as batches,
    ):
        for done, batch in enumerate(batches, first + 1):
            profiler.before(done)
            state, metrics = step(state, put_batch(batch, mesh, batch_size))
            window.add(done, metrics)
            profiler.after(done, metrics)
            last, stopped = done == config.steps, stop.reached(done)
            saves = last or stopped or done % config.save_every == 0
            scores = None
            evaluates = evaluate is not None and config.evaluates and not done % config.eval_every
            # Flushing raises on a bad step before anything is evaluated or saved.
            if (saves or evaluates or done % config.log_every == 0) and (logged := window.flush()):
                writer.write(*logged)
                bar.set_postfix_str(shown(logged[1]))
            bar.update()
            if evaluates and evaluate is not None:
                scores = evaluate(state.params)
                check_scores(done, scores)
                writer.write(done, scores)
            if saves or (scores and config.keep_best and manager.is_best(scores)):
                manager.save(state, metadata, scores)
            if saves or evaluates:
                window.restart_clock()
            if stopped and not last:
                manager.wait()
                raise Preempted(done)
        manager.wait()
    return state


@contextlib.contextmanager
def _batches(data: BatchSource, first: int) -> Iterator[Iterator[Batch]]:
    """Batches made ahead by a thread, which ends with the block."""
    batches = prefetch(data, first)
    try:
        yield batches
    finally:
        batches.close()


@contextlib.contextmanager
def _bad_batch_kept(data: BatchSource, manager: CheckpointManager) -> Iterator[None]:
    """Writes the batch that a loss of NaN came from, and says where, and what to go on from."""
    try:
        yield
    except NonFiniteLossError as error:
        path = save_batch(manager.folder.parent, error.step, data.batch(error.step - 1))
        manager.wait()  # a checkpoint may be on its way to the disk
        sound = [step for step in manager.steps() if step <= error.proven]
        suspect = [str(step) for step in manager.steps() if step > error.proven]
        params = f"the parameters of step {sound[-1]}, unharmed," if sound else "a fresh start"
        message = f"{error}. The batch is in {path}; run on from {params} to meet it again"
        if suspect:
            message += (
                f". That comes right after the checkpoint of step {', '.join(suspect)}: if it stays, "
                f"that one has diverged; remove it from {manager.folder}"
            )
        raise NonFiniteLossError(error.step, message, error.proven) from error
