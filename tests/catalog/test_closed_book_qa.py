import random

import pytest

from flan.catalog.closed_book_qa import arc
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import closed_book_qa as demo

ARC = {
    "id": "X_1",
    "question": "Which of these is a source of light?",
    "choices": {"text": ["Moon", "mirror", "Sun"], "label": [0, 1, 2]},
    "answerKey": 2,
}


def test_arc_takes_three_to_five_choices():
    assert arc(ARC).answer == "Sun"
    five = {"text": ["a", "b", "c", "d", "e"], "label": [0, 1, 2, 3, 4]}
    assert arc({**ARC, "choices": five, "answerKey": 4}).answer == "e"


def test_arc_looks_the_key_up_among_the_letters():
    gap = {"text": ["Moon", "Sun"], "label": [0, 2]}
    assert arc({**ARC, "choices": gap}).answer == "Sun"


def test_arc_options_keep_to_one_line():
    broken = {"text": ["the\nMoon ", "a mirror", "the  Sun"], "label": [0, 1, 2]}
    assert arc({**ARC, "choices": broken}).options == ("the Moon", "a mirror", "the Sun")


def test_unlabelled_arc_row_is_dropped():
    assert arc({**ARC, "answerKey": -1}) is None


@pytest.mark.parametrize("dataset", ["arc"])
def test_demo_rows_have_fields(dataset):
    entry = get_dataset(dataset)
    for source in entry.sources:
        rows = demo.GENERATORS[source.tfds](random.Random(7), 400)
        found = [entry.to_fields(row) for row in rows]
        assert all(found)
        assert all(len(set(f.options)) == len(f.options) for f in found)
        if found[0].options:
            shares = [sum(f.label == i for f in found) / len(found) for i in range(4)]
            assert min(shares) > 0.15
