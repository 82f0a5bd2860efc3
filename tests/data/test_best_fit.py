import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data.best_fit import pack


def flan_like(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of 60 datasets of different size, mean near 190; targets, mean near 24."""
    rng = np.random.default_rng(seed)
    medians = np.exp(rng.uniform(np.log(35), np.log(420), 60))
    dataset = rng.integers(0, 60, count)
    targets = np.array([15, 4, 4, 30, 50])[dataset % 5] * np.exp(rng.normal(0, 0.7, count))
    targets = np.clip(targets, 2, 256).astype(int)
    lengths = (medians[dataset] * np.exp(rng.normal(0, 0.45, count))).astype(int)
    return np.clip(lengths + targets, 12, 1280), targets


pools = st.lists(
    st.integers(1, 100).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, min(n, 30)))),
    max_size=300,
)


@settings(deadline=None)
@given(pools)
def test_each_example_once_within_both_limits(pool):
    lengths = np.array([length for length, _ in pool], np.int64)
    targets = np.array([target for _, target in pool], np.int64)
    packed = pack(lengths, targets, row_length=100, max_targets=40)
    assert sorted(packed.items) == list(range(len(pool)))
    assert packed.counts.sum() == len(pool)
    for row in np.split(packed.items, np.cumsum(packed.counts)[:-1]) if pool else []:
        assert len(row) > 0
        assert lengths[row].sum() <= 100
        assert targets[row].sum() <= 40


@pytest.mark.parametrize("seed", range(3))
def test_fills_rows_of_flan_like_examples(seed):
    lengths, targets = flan_like(16_384, seed)
    packed = pack(lengths, targets, row_length=1280, max_targets=512)
    assert lengths.sum() / (len(packed.counts) * 1280) > 0.999


def test_exact_pairs_close_a_row():
    # 60 starts the row; no 40 is there, but 15 + 25 is.
    packed = pack(np.array([60, 35, 15, 25, 90]), np.ones(5, int), row_length=100, max_targets=100)
    assert sorted(packed.items[: packed.counts[0]]) == [0, 2, 3]


def test_targets_bound_a_row_before_its_length_does():
    lengths, targets = np.full(10, 10), np.full(10, 9)
    packed = pack(lengths, targets, row_length=100, max_targets=20)
    assert packed.counts.tolist() == [2] * 5


def test_most_of_a_row_is_in_random_order():
    lengths, targets = flan_like(16_384)
    packed = pack(lengths, targets, row_length=1280, max_targets=512)
    assert (np.diff(packed.items) == 1).mean() > 0.5


@pytest.mark.parametrize("bad", [0, 101])
def test_lengths_outside_the_row_are_an_invariant(bad):
    with pytest.raises(AssertionError):
        pack(np.array([bad]), np.array([1]), row_length=100, max_targets=10)
