import random

import pytest

from flan.catalog.reading_comprehension_commonsense import cosmos_qa, record
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


def test_cosmos_qa_finishes_questions():
    fields = get_dataset("cosmos_qa").to_fields({**COSMOS, "question": "Why did the bus not come"})
    assert fields.values["question"] == "Why did the bus not come?"


def test_unlabelled_cosmos_row_is_dropped():
    assert cosmos_qa({**COSMOS, "label": -1}) is None


RECORD = {
    "passage": "Kari Dahl won the race.\n@highlight\nDahl wins in Oslo\n@highlight\nSnow all day",
    "query": "It was the third title for @placeholder.",
    "entities": ["Oslo", "Dahl", "Kari Dahl", "Oslo"],
    "answers": ["Kari Dahl", "Dahl"],
    "idx": {"passage": 0, "query": 0},
}


def test_record_trains_on_the_first_answer_and_accepts_all():
    fields = record(RECORD)
    assert fields.options == ("Oslo", "Dahl", "Kari Dahl")
    assert (fields.label, fields.answer) == (2, "Kari Dahl")
    assert fields.references == ("Kari Dahl", "Dahl")


def test_record_shows_a_blank_and_highlights_without_markers():
    values = record(RECORD).values
    assert values["query"] == "It was the third title for ____."
    assert values["passage"] == "Kari Dahl won the race.\nDahl wins in Oslo\nSnow all day"


def test_record_without_a_gap_is_dropped():
    assert get_dataset("record").to_fields({**RECORD, "query": "It was the third title."}) is None


def test_unlabelled_record_row_is_dropped():
    assert record({**RECORD, "answers": []}) is None


@pytest.mark.parametrize("dataset", ["cosmos_qa", "record"])
def test_demo_rows_have_fields_and_unbiased_labels(dataset):
    entry = get_dataset(dataset)
    for source in entry.sources:
        rows = demo.GENERATORS[source.tfds](random.Random(7), 400)
        found = [entry.to_fields(row) for row in rows]
        assert all(found)
        assert all(len(set(f.options)) == len(f.options) for f in found)
        shares = [sum(f.label == i for f in found) / len(found) for i in range(4)]
        assert min(shares) > 0.15
