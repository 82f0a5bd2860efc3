import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data.mixture import WINDOW, make_mixture, share_out

sizes = st.dictionaries(
    st.sampled_from(["anli", "cb", "rte", "squad", "wnli", "xsum"]),
    st.lists(st.integers(0, 40_000), min_size=1, max_size=3),
    min_size=1,
).filter(lambda kept: any(map(sum, kept.values())))


def test_rates_are_capped_and_sources_share_one():
    mixture = make_mixture({"anli": [1000, 1500, 2500], "cb": [200], "mnli": [392_000]})
    rates = {c.name: c.rate for c in mixture.components}
    assert rates == {"anli": 3000, "cb": 200, "mnli": 3000}
    assert {c.name: c.rows for c in mixture.components} == {"anli": 5000, "cb": 200, "mnli": 30_000}
    np.testing.assert_allclose(mixture.probabilities, [3000 / 6200, 200 / 6200, 3000 / 6200])


def test_cap_and_rate_are_parameters():
    (component,) = make_mixture({"mnli": [500, 300]}, cap=400, rate=100).components
    assert (component.used, component.rate) == ((250, 150), 100)


@given(sizes, st.integers(0, 10**12))
def test_counts_stay_within_half_an_example_of_the_share(kept, draws):
    mixture = make_mixture(kept)
    before, after = mixture.counts(draws), mixture.counts(draws + 1)
    for component, count, later in zip(mixture.components, before, after, strict=True):
        assert abs(2 * (count * mixture.total_rate - draws * component.rate)) <= mixture.total_rate
        assert later - count in (0, 1)


@settings(deadline=None, max_examples=25)
@given(sizes, st.integers(0, 1000), st.integers(0, 5))
def test_window_draws_what_the_counts_say(kept, number, seed):
    mixture = make_mixture(kept, seed=seed)
    draws = mixture.window(number)
    expected = np.subtract(mixture.counts((number + 1) * WINDOW), mixture.counts(number * WINDOW))
    observed = np.bincount(draws.component, minlength=len(expected))
    np.testing.assert_array_equal(observed, expected)
    assert abs(len(draws.component) - WINDOW) <= len(expected)
    for i, component in enumerate(mixture.components):
        rows = draws.row[draws.component == i]
        assert component.rows > 0 or not len(rows)
        assert np.all((rows >= 0) & (rows < component.rows))


def test_each_epoch_visits_every_row_once_in_a_new_order():
    mixture = make_mixture({"rte": [2500], "cb": [77]}, seed=3)
    windows = [mixture.window(w) for w in range(3)]
    component, row, epoch = (np.concatenate(parts) for parts in zip(*windows, strict=True))
    for index, size in enumerate([2500, 77]):
        mine = component == index
        orders = [row[mine & (epoch == e)] for e in range(epoch[mine].max())]
        assert len(orders) > 5
        for order in orders:
            assert sorted(order) == list(range(size))
        assert not np.array_equal(orders[0], orders[1])


def test_a_dataset_walks_the_same_rows_whatever_else_is_mixed_in():
    alone = make_mixture({"rte": [2500]}, seed=3).window(0)
    mixed = make_mixture({"cb": [77], "rte": [2500]}, seed=3).window(0)
    mine = mixed.row[mixed.component == 1]
    np.testing.assert_array_equal(mine, alone.row[: len(mine)])


def test_seeds_differ():
    one, two = (make_mixture({"rte": [2500]}, seed=s).window(0).row for s in (1, 2))
    assert not np.array_equal(one, two)


def test_empty_datasets_are_skipped_and_recorded_or_refused():
    mixture = make_mixture({"rte": [100], "idebate": [0]})
    assert mixture.components[1].rate == 0
    assert set(mixture.window(0).component) == {0}
    with pytest.raises(ValueError, match="idebate"):
        make_mixture({"rte": [100], "idebate": [0]}, skip_empty=False)
    with pytest.raises(ValueError, match="idebate"):
        make_mixture({"idebate": [0]})
    with pytest.raises(ValueError, match="at least one"):
        make_mixture({})
    with pytest.raises(ValueError, match="rate=0"):
        make_mixture({"rte": [100]}, rate=0)


@given(st.integers(1, 1000), st.lists(st.integers(0, 1000), min_size=1, max_size=5))
def test_share_out_is_proportional(total, piles):
    taken = share_out(total, piles)
    assert sum(taken) == min(total, sum(piles))
    for got, size in zip(taken, piles, strict=True):
        share = size * min(1, total / max(1, sum(piles)))
        assert 0 <= got <= size
        assert abs(got - share) < 1
