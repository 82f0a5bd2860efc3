"""The best checkpoint: accuracy, then loss, and a number that is none is the worst."""

from __future__ import annotations

import math

import pytest

from flan.checkpoints.scores import best_of


def scores(*pairs):
    return {
        step: {"eval/mean/accuracy": accuracy, "eval/mean/loss": loss}
        for step, (accuracy, loss) in enumerate(pairs, start=1)
    }


@pytest.mark.parametrize(
    ("pairs", "best"),
    [
        ([(0.5, 1.0), (0.9, 2.0), (0.9, 1.5)], 3),
        ([(0.9, 1.0), (0.9, 1.0)], 1),
        ([(math.nan, 1.0), (0.9, 1.0)], 2),
        ([(0.9, 1.0), (math.nan, 1.0)], 1),
        ([(0.5, math.nan), (0.5, 1.0)], 2),
        ([(math.nan, math.nan), (math.nan, math.nan)], 1),
    ],
)
def test_the_best_is_found(pairs, best):
    assert best_of(scores(*pairs)) == best
