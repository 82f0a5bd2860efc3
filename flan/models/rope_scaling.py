"""Rotary frequencies stretched for contexts longer than those of pretraining."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np

_MOST = 1_000_000  # of a factor; models' are below 200


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """By what the frequencies of a rotary embedding are divided.

    Attributes:
      kind: `linear` divides all by `factor` (position interpolation, arXiv 2306.15595);
        `llama3` does so to the slow ones alone, as in Llama 3.1 (arXiv 2407.21783; its
        rule stands in the model code that was published with it).
      factor: of the slow frequencies.
      low_frequency_factor: frequencies with at most so many turns within `original_context`
        are divided by `factor`.
      high_frequency_factor: those with at least so many turns stay as they are; in between
        the divided and the whole frequency are mixed.
      original_context: tokens of a sequence in pretraining.

    Raises ValueError for what is no such rule.
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context: int = 8192

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "llama3"):
            raise ValueError(f"RopeScaling.kind must be linear or llama3, got {self.kind!r}")
        for name in ("factor", "low_frequency_factor", "high_frequency_factor"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value <= _MOST:
                raise ValueError(
                    f"RopeScaling.{name} must be above 0 and at most {_MOST:,}, got {value!r}"
                )
        if not self.low_frequency_factor < self.high_frequency_factor:
            raise ValueError(
                f"RopeScaling.low_frequency_factor {self.low_frequency_factor} must be below "
                f"high_frequency_factor {self.high_frequency_factor}"
            )
        context = self.original_context
        if isinstance(context, bool) or not isinstance(context, int) or not 0 < context < 1 << 40:
            raise ValueError(
                f"RopeScaling.original_context must be above 0, got {self.original_context!r}"
            )

    def divisors(self, d_head: int, theta: float) -> np.ndarray:
        """Float32 `[d_head / 2]`: what the frequencies `theta^(-2i / d_head)` are divided by."""
        half = d_head // 2
        if self.kind == "linear":
            return np.full(half, self.factor, np.float32)
        frequency = float(theta) ** (-np.arange(half, dtype=np.float64) / half)
        turns = self.original_context * frequency / (2 * math.pi)
        low, high = self.low_frequency_factor, self.high_frequency_factor
        whole = np.clip((turns - low) / (high - low), 0, 1)  # how much of it stays as it is
        return (1 / (whole + (1 - whole) / self.factor)).astype(np.float32)


def scaling_from_json(values: Any) -> RopeScaling | None:
    """What `dataclasses.asdict` made of one; ValueError for anything else."""
    if values is None or isinstance(values, RopeScaling):
        return values
    if not isinstance(values, dict):
        raise ValueError(f"rope_scaling must be null or an object, got {values!r}")
    try:
        return RopeScaling(**values)
    except TypeError as error:
        raise ValueError(f"rope_scaling has other entries than expected: {error}") from error
