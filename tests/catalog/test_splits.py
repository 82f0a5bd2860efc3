"""Train, dev and test never share a row, whatever the sizes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flan.catalog import EXTRA, all_datasets, get_datasets
from flan.catalog.dataset import TRAIN_CAP, Source
from flan.catalog.splits import SPLITS, Slice, held_back, plan_dataset, plan_source

DATASETS = get_datasets([*all_datasets(), *EXTRA])
SOURCES = [pytest.param(d, s, id=f"{d.name}-{s.name}") for d in DATASETS for s in d.sources]

# DESIGN section 4; all others have 200.
DEV_SIZES = {
    **dict.fromkeys(("wsc", "cb", "copa"), 50),
    "wnli": 30,
    **dict.fromkeys(("piqa", "stsb", "coqa", "idebate", "rotten_tomatoes"), 100),
}

rows = st.integers(0, 50) | st.integers(0, 10**7)
optional_rows = st.none() | rows


def check(source, sizes, dev_size, cap=TRAIN_CAP):
    """The promises of a plan, for any sizes."""
    plan = plan_source(source, sizes, dev_size, cap)
    assert set(plan) == set(SPLITS)
    slices = [rows for rows in plan.values() if rows is not None]
    for each in slices:
        assert 0 <= each.start < each.stop <= sizes[each.split]
    for a in slices:
        for b in slices:
            assert a is b or a.split != b.split or a.stop <= b.start or b.stop <= a.start
    if plan["train"]:
        assert len(plan["train"]) <= cap
        assert plan["train"].split == source.train
    if plan["dev"]:
        assert len(plan["dev"]) <= dev_size
    return plan


@given(optional_rows, optional_rows, optional_rows, st.integers(1, 500), st.integers(1, 40_000))
@example(1, None, None, 200, TRAIN_CAP)
@example(2, None, None, 200, TRAIN_CAP)
@example(3, 1, None, 200, TRAIN_CAP)
def test_any_source_of_any_size(train, validation, test, dev_size, cap):
    sizes = {"train": train, "validation": validation, "test": test}
    sizes = {split: count for split, count in sizes.items() if count is not None}
    for named in range(8):
        source = Source(
            "any",
            "any",
            "1.0.0",
            train="train" if named & 1 else None,
            validation="validation" if named & 2 else None,
            test="test" if named & 4 else None,
        )
        plan = check(source, sizes, dev_size, cap)
        if source.train and (train or 0) >= 3:
            assert plan["train"], "enough rows to train on, and none used"
        labelled = any(sizes.get(s) for s in (source.validation, source.test) if s)
        assert bool(plan["test"]) == (labelled or bool(source.train and (train or 0) >= 2))


@pytest.mark.parametrize(("dataset", "source"), SOURCES)
def test_official_sizes(dataset, source):
    plan = check(source, source.sizes, dataset.dev_size)
    assert plan["test"] is not None
    if source.train:
        assert plan["train"] is not None
        assert plan["dev"] is not None
        assert len(plan["dev"]) == dataset.dev_size == DEV_SIZES.get(dataset.name, 200)
        from_train = sum(len(p) for p in plan.values() if p and p.split == source.train)
        assert from_train == source.sizes[source.train] or len(plan["train"]) == TRAIN_CAP
    else:
        assert plan["train"] is plan["dev"] is None


@pytest.mark.parametrize(("dataset", "source"), SOURCES)
@given(data=st.data())
def test_every_source_at_every_size(dataset, source, data):
    sizes = {split: data.draw(rows, label=split) for split in source.sizes}
    check(source, sizes, dataset.dev_size)


@pytest.mark.parametrize(("dataset", "source"), SOURCES)
def test_named_splits_are_official_ones(dataset, source):
    for split in (source.train, source.validation, source.test):
        assert split is None or source.sizes.get(split, 0) > 0
    assert source.sizes_from


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.name)
def test_no_rows_train_twice(dataset):
    """Two sources on one TFDS split would give its rows double weight."""
    trained = [(s.tfds, s.train) for s in dataset.sources if s.train]
    assert len(set(trained)) == len(trained)


def test_sources_on_one_tfds_split_evaluate_on_their_own():
    for dataset in DATASETS:
        tested = [(s.tfds, s.validation, s.test) for s in dataset.sources]
        assert len(set(tested)) == len(tested)


@given(rows, st.integers(0, 10**4))
def test_held_back_leaves_most_of_the_rows(count, wanted):
    taken = held_back(count, wanted)
    assert 0 <= taken <= wanted
    assert taken <= max(count // 5, 1)
    assert taken < max(count, 1)


def test_plan_dataset_leaves_out_what_is_not_on_disk():
    (anli,) = get_datasets(["anli"])
    sizes = {"r2": {"train": 100, "validation": 10, "test": 10}}
    assert plan_dataset(anli, sizes) == {
        "r2": {
            "train": Slice("train", 0, 100),
            "dev": Slice("validation", 0, 10),
            "test": Slice("test", 0, 10),
        }
    }


def test_tfds_notation():
    assert Slice("train", 10, 30).tfds == "train[10:30]"
    assert len(Slice("train", 10, 30)) == 20
