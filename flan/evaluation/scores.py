"""What an option is worth: its log-probability, counted in four ways.

sum         of its tokens; the paper's rule
token_mean  over its tokens
byte_mean   over the UTF-8 bytes of its text, which no tokenizer can shift
pmi         less its log-probability without the example's input: how much more probable
            the input makes it (arXiv 2104.08315, with an empty input as the domain premise)
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

ScoreName = Literal["sum", "token_mean", "byte_mean", "pmi"]
SCORES: tuple[ScoreName, ...] = ("sum", "token_mean", "byte_mean", "pmi")

# Scores this close are one score: rounding in float32 moves them by less, and
# `flan.evaluation` promises no more than this between batch sizes.
TIE_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class OptionScores:
    """Log-probabilities of the options of one request.

    Attributes:
      log_probs: float64 `[options]`, the sum over each option's tokens.
      unconditional: float64 `[options]`, the same after an empty input.
      tokens: int `[options]`, tokens scored.
      num_bytes: int `[options]`, UTF-8 bytes of the option's text.
    """

    log_probs: np.ndarray
    unconditional: np.ndarray
    tokens: np.ndarray
    num_bytes: np.ndarray

    def by(self, name: ScoreName) -> np.ndarray:
        """Scores `[options]` of that name; ValueError for an unknown one."""
        if name == "sum":
            return self.log_probs
        if name == "token_mean":
            return self.log_probs / self.tokens
        if name == "byte_mean":
            return self.log_probs / self.num_bytes
        if name == "pmi":
            return self.log_probs - self.unconditional
        raise ValueError(f"score {name!r} is not one of {SCORES}")

    def best(self, name: ScoreName = "sum") -> tuple[int, bool]:
        """The winning option and whether another one ties with it.

        Among options within `TIE_TOLERANCE` of the highest the first wins, so that rounding
        cannot change a prediction between batch sizes; of means it is divided as they are.
        The default is the paper's rule: the option with the highest log-probability, not
        divided by its length.
        """
        divisor = {"token_mean": self.tokens, "byte_mean": self.num_bytes}.get(name, 1)
        return first_highest(self.by(name), TIE_TOLERANCE / np.maximum(divisor, 1))


def first_highest(
    scores: np.ndarray, tolerance: np.ndarray | float = TIE_TOLERANCE
) -> tuple[int, bool]:
    """The first place that ties with the highest score, and whether there are others.

    `tolerance` is how far rounding may have moved the scores, or each of them.
    """
    highest = int(scores.argmax())
    moved = np.broadcast_to(tolerance, scores.shape)
    near = np.flatnonzero(scores >= scores[highest] - np.maximum(moved, moved[highest]))
    return int(near[0]), len(near) > 1
