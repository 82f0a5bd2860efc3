"""Prints of rows: exact, nearly the same, too short, and cached."""

import itertools
import random

import numpy as np
import pytest

from flan.catalog.dataset import Fields
from flan.data import row_prints
from flan.data.cache_keys import cache_folder
from flan.data.row_cache import RowCache, write_row_cache
from flan.data.row_prints import BANDS, cached_prints, prints_of, text_of
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


@pytest.mark.parametrize(("changed", "least", "most"), [(1, 0.97, 1), (8, 0.4, 0.7), (40, 0, 0)])
def test_near_duplicates_are_found_as_often_as_promised(changed, least, most):
    """Of 40 words 1, 8 or all changed: 94%, 55%, none of the words and pairs are shared."""
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


def test_prints_of_a_cache_are_taken_once(tmp_path, monkeypatch):
    rows = [Fields({"a": text, "b": "and more"}, "yes") for text in sentences(30, 12)]
    identity = {"dataset": "rte", "source": "rte", "split": "train"}
    path = cache_folder(tmp_path, "rows", identity)
    write_row_cache(path, identity, enumerate(rows))
    cache = RowCache.open(path)
    first = cached_prints(cache, tmp_path / "prints")
    assert first.rows.tolist() == prints_of(map(text_of, rows)).rows.tolist()
    assert first.near.shape == (30, BANDS)
    (file,) = (tmp_path / "prints").iterdir()

    def forbidden(texts):
        raise AssertionError("taken again")

    monkeypatch.setattr(row_prints, "prints_of", forbidden)
    again = cached_prints(cache, tmp_path / "prints")
    assert again.near.tolist() == first.near.tolist()
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(AssertionError, match="taken again"):
        cached_prints(cache, tmp_path / "prints")
