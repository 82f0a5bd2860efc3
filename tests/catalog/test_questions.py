import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.questions import as_question, finish_question, unquote_cell


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("who built the wall", "Who built the wall?"),
        ("who built the wall ", "Who built the wall?"),
        ("Who built the wall??", "Who built the wall?"),
        ("who built the wall \u200b", "Who built the wall?"),
        ("does the river cross the border ?", "Does the river cross the border?"),
        ("10 longest rivers", "10 longest rivers?"),
    ],
)
def test_as_question(query, question):
    assert as_question(query) == question


@given(st.text())
def test_as_question_ends_in_exactly_one_mark_and_is_stable(query):
    once = as_question(query)
    assert once.endswith("?")
    assert not once.endswith("??")
    assert not once[:-1].endswith(" ")
    assert as_question(once) == once


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"Who wrote ""Emma""?"', 'Who wrote "Emma"?'),
        ('"""Emma"" was written by whom?"', '"Emma" was written by whom?'),
        ("Who wrote Emma?", "Who wrote Emma?"),
        ('"Emma" and "Persuasion"', '"Emma" and "Persuasion"'),
        ('Who wrote "Emma"', 'Who wrote "Emma"'),
        ('"', '"'),
    ],
)
def test_unquote_cell(cell, text):
    assert unquote_cell(cell) == text


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Which river flows through Vienna", "Which river flows through Vienna?"),
        ("Who painted it ?", "Who painted it?"),
        ("Name the river.", "Name the river."),
        ("Name the river", "Name the river."),
        ('Who wrote "Emma"', 'Who wrote "Emma"?'),
        ('What is meant by "who is it?"', 'What is meant by "who is it?"'),
        ("Who sang it\n(in 1996)", "Who sang it (in 1996)?"),
    ],
)
def test_finish_question(text, question):
    assert finish_question(text) == question
