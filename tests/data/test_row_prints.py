"""Prints of rows: exact, nearly the same, too short, and cached."""

import itertools
import random

import numpy as np
import pytest

from flan.data import row_prints
from flan.data.cache_plan import Request
from flan.data.prepare import prepare
from flan.data.row_prints import BANDS, prints_of, text_of, train_prints
from flan.data.training_record import TrainingRows

WORDS = [f"word{i}" for i in range(3000)]


def sentences(count, words, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(words)) for _ in range(count)]


def test_a_row_is_its_words_in_order():
    texts = ["", "one two", "One,  two!", "two one", "one", "one two\n", "one two three", " . "]
    rows = prints_of(texts).rows
    assert rows[0] == rows[-1] == 0
    assert rows[1] == rows[2] == rows[5] != 0
    assert len(set(rows.tolist())) == 5  # nothing, "one two", "two one", "one", "one two three"


def test_prints_do_not_depend_on_what_else_is_there(monkeypatch):
    texts = [s for n in (0, 1, 7, 8, 40) for s in sentences(20, n, seed=n)]
    together = prints_of(texts)
    monkeypatch.setattr("flan.data.grams.BLOCK_BYTES", 100)
    apart = prints_of(texts)
    alone = [prints_of([text]) for text in texts]
    for i, one in enumerate(alone):
        assert together.rows[i] == apart.rows[i] == one.rows[0]
        assert together.near[i].tolist() == apart.near[i].tolist() == one.near[0].tolist()
    short = np.array([len(text.split()) < row_prints.SHORTEST for text in texts])
    assert ((together.near == 0).all(axis=1) == short).all()


@pytest.mark.parametrize(("changed", "least", "most"), [(1, 0.99, 1), (8, 0.04, 0.25), (40, 0, 0)])
def test_near_duplicates_are_found_as_often_as_promised(changed, least, most):
    """Of 40 words 1, 8 or all changed: 93%, 56%, none of the words and pairs are shared."""
    rng = random.Random(1)
    originals = sentences(400, 40)
    copies = []
    for text in originals:
        words = text.split()
        for place in rng.sample(range(40), changed):
            words[place] = f"other{rng.random()}"
        copies.append(" ".join(words).upper() + ".")
    known = TrainingRows.of([prints_of(originals)])
    exact, near = known.look_up(prints_of(copies))
    assert not exact.any()
    assert least <= near.mean() <= most


def test_planted_rows_are_counted_exactly():
    training, evaluated = sentences(500, 20, seed=2), sentences(300, 20, seed=3)
    planted = random.Random(0).sample(range(300), 37)
    training += [evaluated[i].title() for i in planted]
    known = TrainingRows.of([prints_of(training[:200]), prints_of(training[200:])])
    exact, near = known.look_up(prints_of(evaluated))
    assert np.flatnonzero(exact).tolist() == sorted(planted)
    assert not near.any()


def test_what_has_no_print_is_in_nothing():
    known = TrainingRows.of([prints_of(["", "a few words"])])
    assert len(known.rows) == 1
    exact, near = known.look_up(prints_of(["", "...", "other words"]))
    assert not exact.any()
    assert not near.any()
    nothing = TrainingRows.of([])
    assert not any(itertools.chain(*nothing.look_up(prints_of(sentences(3, 20)))))


@pytest.mark.parametrize("stream", [False, True])
def test_prints_of_train_rows_are_taken_once(small_demo, tmp_path, monkeypatch, stream):
    request = Request(("rte", "sst2"), tmp_path, small_demo)
    first = list(train_prints(request, stream))
    assert [(p.dataset, len(p.ids), p.prints.near.shape[1]) for p in first] == [
        ("rte", 48, BANDS),
        ("sst2", 48, BANDS),
    ]
    assert (tmp_path / "rows").exists() != stream
    rows = prepare(request, 1).open_rows("rte", "train")["rte"]
    assert first[0].ids.tolist() == rows.row_ids.tolist()
    assert first[0].prints.rows.tolist() == prints_of(map(text_of, rows)).rows.tolist()

    def forbidden(texts):
        raise AssertionError("taken again")

    monkeypatch.setattr(row_prints, "prints_of", forbidden)
    again = list(train_prints(request, not stream))
    assert again[0].prints.near.tolist() == first[0].prints.near.tolist()
    for file in (tmp_path / "prints").iterdir():
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(AssertionError, match="taken again"):
        list(train_prints(request, stream))
