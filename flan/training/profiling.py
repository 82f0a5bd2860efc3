"""A profiler trace of some steps, for TensorBoard or Perfetto."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

from flan.checkpoints import layout

_STEPS = re.compile(r"(\d+):(\d+)")


class Profiler:
    """Records the steps "START:STOP" (from 1, both included) into the model folder."""

    def __init__(self, model_dir: Path, steps: str) -> None:
        self._folder = model_dir / layout.PROFILE
        self._range = self.parse(steps)
        self._running = False

    @staticmethod
    def parse(steps: str) -> tuple[int, int] | None:
        """First and last step of "START:STOP", None of ""; ValueError for anything else."""
        if not steps:
            return None
        found = _STEPS.fullmatch(steps)
        start, stop = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= start <= stop:
            raise ValueError(
                f"PROFILE_STEPS must be 'START:STOP', steps counted from 1, as in '11:15'; got "
                f"{steps!r}"
            )
        return start, stop

    def before(self, step: int) -> None:
        """To be called before each step; starts at the first one of the range."""
        if self._range and not self._running and self._range[0] <= step <= self._range[1]:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, result: Any) -> None:
        """To be called after each step with what it computes; stops at the last of the range."""
        if self._running and self._range and step >= self._range[1]:
            jax.block_until_ready(result)
            self._stop()

    def __enter__(self) -> Profiler:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
