import numpy as np
import pytest

from flan.evaluation.scores import SCORES, OptionScores


def test_ties_are_told_and_the_first_wins():
    zeros, ones = np.zeros(3), np.ones(3)
    scores = OptionScores(np.array([-3.0, -2.00004, -2.0]), zeros, ones, ones)
    assert scores.best() == (1, True)


def test_a_tie_of_means_is_as_narrow_as_their_rounding():
    long = OptionScores(
        np.array([-100.0, -99.985]), np.zeros(2), np.array([50, 50]), np.array([200, 200])
    )
    assert long.best("sum") == (1, False)
    assert long.best("token_mean") == (1, False)
    assert long.best("byte_mean") == (1, False)
    equal = OptionScores(
        np.array([-100.0, -99.99995]), np.zeros(2), np.array([50, 50]), np.array([200, 200])
    )
    assert {equal.best(name) for name in SCORES} == {(0, True)}


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
