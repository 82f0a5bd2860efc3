import random

import pytest

from flan.catalog.reading_comprehension import bool_q
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import reading_comprehension as demo


def test_bool_q_writes_the_query_as_a_question_and_orders_options_false_true():
    row = {
        "question": "is the moon a star",
        "title": "Moon",
        "passage": "The Moon is Earth's only natural satellite.",
        "answer": False,
    }
    fields = bool_q(row)
    assert fields.values["question"] == "Is the moon a star?"
    assert (fields.options, fields.label, fields.answer) == (("no", "yes"), 0, "no")
    assert bool_q({**row, "answer": True}).answer == "yes"


def test_bool_q_cuts_an_overlong_passage_so_that_the_question_survives():
    row = {"question": "is it", "title": "T", "passage": "word " * 2_000, "answer": True}
    assert len(bool_q(row).values["passage"]) < 4_000


@pytest.mark.parametrize("answer", [0, 1])
def test_bool_q_takes_numbers_for_booleans(answer):
    row = {"question": "is it", "title": "T", "passage": "It is.", "answer": answer}
    assert bool_q(row).label == answer


@pytest.mark.parametrize("dataset", ["bool_q"])
def test_demo_rows_have_fields(dataset):
    entry = get_dataset(dataset)
    for source in entry.sources:
        rows = demo.GENERATORS[source.tfds](random.Random(7), 400)
        found = [entry.to_fields(row) for row in rows]
        assert all(found)
        if found[0].options:
            width = len(found[0].options)
            shares = [sum(f.label == i for f in found) / len(found) for i in range(width)]
            assert min(shares) > 0.6 / width
