import random

import pytest

from flan.catalog.reading_comprehension import bool_q, drop, multirc, openbookqa, squad
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import reading_comprehension as demo
from flan.templates.load import load_templates


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


def test_bool_q_has_straight_quotes_and_no_padding():
    row = {
        "question": " is ``emma'' a\nbook ",
        "title": "Emma ``novel'' ",
        "passage": " ``Emma'' is  a novel. ",
        "answer": True,
    }
    assert bool_q(row).values == {
        "question": 'Is "emma" a book?',
        "title": 'Emma "novel"',
        "passage": '"Emma" is a novel.',
    }


def test_bool_q_cuts_an_overlong_passage_so_that_the_question_survives():
    row = {"question": "is it", "title": "T", "passage": "word " * 2_000, "answer": True}
    assert len(bool_q(row).values["passage"]) < 4_000


@pytest.mark.parametrize("answer", [0, 1])
def test_bool_q_takes_numbers_for_booleans(answer):
    row = {"question": "is it", "title": "T", "passage": "It is.", "answer": answer}
    assert bool_q(row).label == answer


DROP = {
    "passage": " The Bears led 10&#8211;3  at half-time. ",
    "question": "How many points did the Bears have",
    "answer": "10",
    "validated_answers": ["10", "10 points"],
    "query_id": "x0",
}


def test_drop_keeps_every_validated_answer_once():
    fields = drop(DROP)
    assert fields.answer == "10"
    assert fields.references == ("10", "10 points")
    assert fields.values["passage"] == "The Bears led 10–3 at half-time."
    assert fields.values["question"] == "How many points did the Bears have?"


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("1918-November-11", "11 November 1918"),
        ("-May-8", "8 May"),
        ("1426-1440", "1426-1440"),
        ("34-yard", "34-yard"),
        ("2-1-3", "2-1-3"),
    ],
)
def test_drop_writes_the_builders_dates_out(raw, written):
    assert drop({**DROP, "answer": raw, "validated_answers": []}).answer == written


def test_drop_takes_a_validators_answer_for_an_empty_one_and_drops_rows_without_any():
    assert drop({**DROP, "answer": ""}).answer == "10"
    assert drop({**DROP, "answer": "", "validated_answers": [" "]}) is None


MULTIRC = {
    "paragraph": "Lena took the bus to town. Her brother walked.",
    "question": "Who went to town",
    "answer": "Lena",
    "label": 1,
    "idx": {"paragraph": 0, "question": 0, "answer": 0},
}


def test_multirc_judges_the_rows_answer_as_a_candidate():
    fields = multirc(MULTIRC)
    assert fields.values["candidate"] == "Lena"
    assert fields.values["question"] == "Who went to town?"
    assert (fields.answer, fields.label) == ("yes", 1)
    assert multirc({**MULTIRC, "label": -1}) is None


def test_multirc_paragraphs_read_as_written():
    row = {**MULTIRC, "paragraph": "Lena , `` Len '' , does n't fly .", "answer": "125â\x80\x82b.c"}
    fields = multirc({**row, "question": "Name two towns"})
    assert fields.values == {
        "paragraph": 'Lena, "Len", doesn\'t fly.',
        "question": "Name two towns.",
        "candidate": "125 b.c",
    }


OPENBOOKQA = {
    "question": {
        "stem": "A lamp shines because it is given",
        "choice_A": "paint",
        "choice_B": "electricity",
        "choice_C": "water",
        "choice_D": "shade",
    },
    "fact1": "a lamp turns electricity into light",
    "answerKey": 1,
    "humanScore": 1.0,
    "clarity": 2.0,
    "turkIdAnonymized": "x",
}


def test_openbookqa_says_so_where_the_file_leaves_the_fact_out():
    assert openbookqa(OPENBOOKQA).values["fact"] == "a lamp turns electricity into light"
    assert openbookqa({**OPENBOOKQA, "fact1": ""}).values["fact"] == "(none given)"
    assert openbookqa(OPENBOOKQA).answer == "electricity"


SQUAD = {
    "context": "The bridge was opened in 1894 by the mayor.",
    "title": "Bridge",
    "question": "When was the bridge opened? ",
    "id": "x",
    "answers": {"answer_start": [25, 22, 25], "text": ["1894", "in 1894", "1894"]},
}


def test_squad_answers_are_references_each_once():
    fields = squad(SQUAD)
    assert fields.answer == "1894"
    assert fields.references == ("1894", "in 1894")
    assert fields.values["question"] == "When was the bridge opened?"


def test_unanswerable_question_of_squad_v2_is_answered_so_and_not_dropped():
    row = {
        **SQUAD,
        "answers": {"answer_start": [], "text": []},
        "is_impossible": True,
        "plausible_answers": {"answer_start": [34], "text": ["the mayor"]},
    }
    assert squad(row).references == ("unanswerable",)
    assert squad({**row, "is_impossible": False}) is None


@pytest.mark.parametrize("template", load_templates("squad").templates, ids=lambda t: t.id)
def test_each_squad_template_names_the_way_out(template):
    text = template.input.source
    # An inverted template may do without the word where it does not show the answer.
    assert "unanswerable" in text or (
        "answer" not in template.input.names and template.kind == "inverted"
    )


@pytest.mark.parametrize("dataset", ["bool_q", "drop", "multirc", "openbookqa", "squad"])
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


def test_demo_squad_answers_are_spans_and_some_questions_have_none():
    rows = demo.squad_v2(random.Random(3), 300)
    impossible = [row for row in rows if row["is_impossible"]]
    assert 60 < len(impossible) < 140
    for row in rows:
        spans = row["plausible_answers"] if row["is_impossible"] else row["answers"]
        (start,), (text,) = spans["answer_start"], spans["text"]
        assert row["context"][start : start + len(text)] == text
