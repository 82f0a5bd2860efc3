import numpy as np
import pytest

from flan.evaluation.scores import OptionScores


def test_ties_are_told_and_the_first_wins():
    zeros, ones = np.zeros(3), np.ones(3)
    scores = OptionScores(np.array([-3.0, -2.00004, -2.0]), zeros, ones, ones)
    assert scores.best() == (1, True)


def test_four_ways_to_count():
    clear = OptionScores(
        np.array([-4.0, -3.0]), np.array([-9.0, -3.5]), np.array([4, 1]), np.array([1, 2])
    )
    assert clear.best("sum") == (1, False)
    assert clear.best("token_mean") == (0, False)
    assert clear.best("byte_mean") == (1, False)
    assert clear.best("pmi") == (0, False)
    assert clear.by("pmi").tolist() == [5.0, 0.5]
    with pytest.raises(ValueError, match="byte_mean"):
        clear.by("bytes")
