"""Dev scores of checkpoints: which one is best, and that it stays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Dev scores by name (`flan.training.dev`), and the entry of a checkpoint's metadata that
# holds them.
Scores = dict[str, float]
SCORES = "dev_scores"


def goodness(scores: Scores) -> tuple[float, float]:
    """What makes one better than another: mean accuracy, and among equals the lower loss.

    A number that is none is worse than any: nothing is greater than NaN, nor less.
    """
    pair = scores["eval/mean/accuracy"], -scores["eval/mean/loss"]
    accuracy, loss = (-math.inf if math.isnan(x) else x for x in pair)
    return accuracy, loss


def best_of(scores: Mapping[int, Scores]) -> int:
    """The step with the best scores, the first of equals."""
    return max(sorted(scores), key=lambda step: goodness(scores[step]))


class KeepBest:
    """Orbax's rule that the best of the checkpoints with scores stays."""

    def __init__(self, scores: Callable[[], Mapping[int, Scores]]) -> None:
        self._scores = scores

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Whether each checkpoint (orbax's descriptions, with a `step`) stays."""
        scores = self._scores()
        there = {c.step: scores[c.step] for c in checkpoints if c.step in scores}
        best = best_of(there) if there else None
        return [c.step == best for c in checkpoints]
