import random

import pytest

from flan.catalog.reading_comprehension_commonsense import cosmos_qa
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import reading_comprehension_commonsense as demo

COSMOS = {
    "id": "x",
    "context": "We waited an hour in the snow . The bus did n't come .",
    "question": "What did they do next ?",
    "answer0": "They flew home .",
    "answer1": "They walked home .",
    "answer2": "They got on the bus .",
    "answer3": "None of the above choices .",
    "label": 1,
}


def test_cosmos_qa_undoes_tokenization_everywhere():
    fields = cosmos_qa(COSMOS)
    assert fields.values["context"] == "We waited an hour in the snow. The bus didn't come."
    assert fields.values["question"] == "What did they do next?"
    assert fields.answer == "They walked home."
    assert fields.options[3] == "None of the above choices."


def test_unlabelled_cosmos_row_is_dropped():
    assert cosmos_qa({**COSMOS, "label": -1}) is None


@pytest.mark.parametrize("dataset", ["cosmos_qa"])
def test_demo_rows_have_fields_and_unbiased_labels(dataset):
    entry = get_dataset(dataset)
    for source in entry.sources:
        rows = demo.GENERATORS[source.tfds](random.Random(7), 400)
        found = [entry.to_fields(row) for row in rows]
        assert all(found)
        assert all(len(set(f.options)) == len(f.options) for f in found)
        shares = [sum(f.label == i for f in found) / len(found) for i in range(4)]
        assert min(shares) > 0.15
