"""SIGTERM: before training it ends the run, during training it saves first."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Preempted(Exception):
    """SIGTERM arrived. Carries the step that was saved, None before the first one."""

    def __init__(self, step: int | None = None) -> None:
        if step is None:
            super().__init__("stopped by SIGTERM before the first step; what is prepared is kept")
        else:
            super().__init__(f"stopped by SIGTERM; saved at step {step}")
        self.step = step


class StopRequest:
    """Whether SIGTERM arrived, at this process or at another one of the run."""

    def __init__(self) -> None:
        self.raised = False

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`; all processes get the same answer at the same step.

        To be asked once after each step.
        """
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self.raised


@contextlib.contextmanager
def sigterm_ends() -> Iterator[None]:
    """Within it SIGTERM raises `Preempted`."""

    def stop() -> None:
        raise Preempted

    with _on_sigterm(stop):
        yield


@contextlib.contextmanager
def sigterm_noted() -> Iterator[StopRequest]:
    """Within it SIGTERM is noted, to be answered between two steps."""
    request = StopRequest()

    def note() -> None:
        request.raised = True

    with _on_sigterm(note):
        yield request


@contextlib.contextmanager
def _on_sigterm(action: Callable[[], None]) -> Iterator[None]:
    def handle(signum: int, frame: FrameType | None) -> None:
        action()

    # JAX watches for the signal itself where it has to tell other processes.
    if jax.process_count() > 1:
        yield
        return
    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not the main thread, where signals never arrive
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
