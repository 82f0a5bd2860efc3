"""Replicates of every metric against the metric itself on the same samples."""

import itertools

import numpy as np
import pytest

from flan.evaluation import resampling
from flan.evaluation.metrics import METRICS, get_metric
from flan.evaluation.resampling import REPLICATES, interval, replicates

WORDS = ("the cat sat on the mat", "a dog", "Paris", "an old cat sat", "the mat on a dog sat", "")


def made_up(takes, count, seed=0):
    rng = np.random.default_rng(seed)
    if takes == "text":
        targets = [tuple(rng.choice(WORDS[:5], 1 + i % 3)) for i in range(count)]
        return targets, rng.choice(WORDS, count).tolist()
    if takes == "number":
        gold = np.round(rng.uniform(0, 5, count), 1)
        noisy = np.round(gold + rng.normal(0, 1, count), 1)
        return gold.tolist(), [str(v) for v in noisy[:-1]] + ["no number"]
    return rng.integers(0, 3, count).tolist(), rng.integers(0, 3, count).tolist()


@pytest.mark.parametrize("name", sorted(METRICS))
def test_replicates_are_the_metric_on_samples(name, monkeypatch):
    monkeypatch.setattr(resampling, "REPLICATES", 20)
    metric = get_metric(name)
    targets, predictions = made_up(metric.takes, 17)
    found = replicates(metric, targets, predictions, "rows")
    drawn = np.concatenate(list(resampling._samples(17, "rows"))).tolist()
    expected = [
        metric.function([targets[i] for i in one], [predictions[i] for i in one])[metric.main]
        for one in drawn
    ]
    assert len(set(found)) > 3
    assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", ["pearson", "matthews", "macro_f1", "binary_f1"])
def test_what_is_undefined_counts_as_the_metric_says(name):
    metric = get_metric(name)
    values = [1, 1, 1]
    point = metric.function(values, values)[metric.main]
    assert set(replicates(metric, values, values, "rows")) == {point}


def test_the_same_rows_draw_the_same_samples_whatever_is_held_in_memory(monkeypatch):
    metric = get_metric("accuracy")
    targets, predictions = made_up("text", 30)
    whole = replicates(metric, targets, predictions, "rows")
    assert len(whole) == REPLICATES
    monkeypatch.setattr(resampling, "_AT_ONCE", 100)
    assert replicates(metric, targets, predictions, "rows") == whole
    assert replicates(metric, targets, predictions, "other rows") != whole


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    metric = get_metric("accuracy")
    covered = 0
    for trial in range(200):
        right = (rng.uniform(size=80) < 0.7).astype(int)
        low, high = interval(replicates(metric, [1] * 80, right.tolist(), str(trial)))
        covered += low <= 70 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_a_single_example_has_no_spread():
    found = replicates(get_metric("accuracy"), ["yes"], ["yes"], "rows")
    assert interval(found) == (100.0, 100.0)
    assert set(itertools.chain(found)) == {100.0}
