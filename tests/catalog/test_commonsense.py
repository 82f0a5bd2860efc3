import random

import pytest

from flan.catalog.commonsense import copa
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import commonsense as demo

COPA = {
    "premise": "The pond froze over.",
    "question": "cause",
    "choice1": "The night was very cold.",
    "choice2": "Children skated on it.",
    "label": 0,
    "idx": 0,
}


def test_copa_words_the_relation_three_ways():
    cause = copa(COPA).values
    effect = copa({**COPA, "question": "effect"}).values
    assert (cause["relation"], cause["link"]) == ("cause", "because")
    assert (effect["relation"], effect["link"]) == ("effect", "so")
    assert cause["question"] != effect["question"]
    assert cause["opening"] == "The pond froze over"


def test_unlabelled_copa_row_is_dropped():
    assert copa({**COPA, "label": -1}) is None


@pytest.mark.parametrize("dataset", ["copa"])
def test_demo_rows_have_fields_and_unbiased_labels(dataset):
    entry = get_dataset(dataset)
    for source in entry.sources:
        rows = demo.GENERATORS[source.tfds](random.Random(7), 400)
        found = [entry.to_fields(row) for row in rows]
        assert all(found)
        assert all(len(set(f.options)) == len(f.options) for f in found)
        width = len(found[0].options)
        shares = [sum(f.label == i for f in found) / len(found) for i in range(width)]
        assert min(shares) > 0.6 / width
