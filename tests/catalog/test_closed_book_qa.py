import random

import pytest

from flan.catalog.closed_book_qa import arc, natural_questions, trivia_qa
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


def test_natural_questions_gain_one_question_mark_and_keep_all_answers():
    row = {"question": "who built the wall ?", "answer": ["Hadrian", "Emperor Hadrian"]}
    fields = natural_questions(row)
    assert fields.values["question"] == "Who built the wall?"
    assert fields.references == ("Hadrian", "Emperor Hadrian")


def _trivia(value, aliases, question="Which river flows through Vienna?"):
    return trivia_qa({"question": question, "answer": {"value": value, "aliases": aliases}})


def test_trivia_references_are_the_value_and_its_aliases():
    fields = _trivia("Danube", ["River Danube", "Danube"])
    assert fields.answer == "Danube"
    assert fields.references == ("Danube", "River Danube")


def test_trivia_value_in_capitals_is_taught_as_its_alias_spells_it():
    fields = _trivia("DANUBE", ["River Danube", "Danube"])
    assert fields.answer == "Danube"
    assert set(fields.references) == {"Danube", "DANUBE", "River Danube"}
    assert _trivia("NATO", ["Nato"]).answer == "NATO"
    assert _trivia("GARGOYLE", ["Spout"]).answer == "GARGOYLE"


def test_trivia_question_sheds_its_csv_quotes():
    question = '"Who wrote ""Emma"" ?"'
    assert _trivia("Austen", [], question).values["question"] == 'Who wrote "Emma"?'


def test_trivia_answers_shed_their_csv_quotes():
    answer = {"value": '"""Zadok the Priest"""', "aliases": ['"""Zadok"""', "Zadok"]}
    fields = get_dataset("trivia_qa").to_fields({"question": "Which anthem", "answer": answer})
    assert fields.references == ('"Zadok the Priest"', '"Zadok"', "Zadok")


def test_natural_questions_answers_are_decoded_again():
    row = {
        "question": "who leads",
        "answer": ["Miguel DÃ\u00adaz-Canel", "50Â\u00a0GB", "Hydro\u00adgen"],
    }
    fields = get_dataset("natural_questions").to_fields({**row, "answer": [*row["answer"], "ï¿½"]})
    assert fields.references == ("Miguel Díaz-Canel", "50 GB", "Hydrogen")


def test_trivia_test_rows_are_dropped():
    assert _trivia("<unk>", []) is None


@pytest.mark.parametrize("dataset", ["arc", "natural_questions", "trivia_qa"])
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
