"""Each known mistake, planted in templates without any: the linter must name it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.dataset import Fields, choice
from flan.templates.lint import RULES, check_templates
from flan.templates.lint.duplicates import edit_distance
from flan.testing.clean_templates import (
    CLEAN_NLI,
    CLEAN_QA,
    NLI,
    NLI_INPUTS,
    NLI_ROWS,
    OPTIONS,
    QA,
    QA_ROWS,
    found,
    qa_row,
    with_template,
)


def test_the_clean_sets_are_clean():
    assert check_templates(NLI, CLEAN_NLI, NLI_ROWS, lambda text: list(text.encode())) == []
    assert check_templates(QA, CLEAN_QA, QA_ROWS) == []


# What is planted into t0's input, and the rule that has to say so.
STRAY = [
    ("{premise}\n\nIs it true that {hypothesis}n\n{options}", "glued-hole"),
    ("{premise}\n\nIs it true that {hypothesis} n\n{options}", "stray-characters"),
    ("{premise}\\nIs it true that {hypothesis}\n{options}", "stray-characters"),
    ("{premise}\n\nIs it true that{hypothesis}\n\n{options}", "glued-hole"),
    ("{premise}{hypothesis} Is it true?\n\n{options}", "glued-hole"),
    ("{premise}\n\nIs it true that {hypothesis} ?\n\n{options}", "spaces"),
    ("{premise} \n\nIs it true that {hypothesis}\n\n{options}", "spaces"),
    ("{premise}\n\n\nIs it true that {hypothesis}\n\n{options}", "spaces"),
    ("{premise}\n\nIs it  true that {hypothesis}\n\n{options}", "spaces"),
    ("{premise}\n\nIs it true that\t{hypothesis}\n\n{options}", "spaces"),
    ("{premise}\n\nIs it true that {hypothesis}\n\n{options}\n", "spaces"),
    ("{premise}\n\nIs it true that {hypothesis}??\n\n{options}", "doubled-punctuation"),
    ("{premise}\n\nTell me,. is it true that {hypothesis}\n\n{options}", "doubled-punctuation"),
    ("{premise}\n\nIs it true that {hypothesis}..\n\n{options}", "doubled-punctuation"),
    ("{premise}\n\nIs it so\u00a0that {hypothesis}\n\n{options}", "stray-characters"),
    ("{premise}\n\nIs it\u200b so that {hypothesis}\n\n{options}", "stray-characters"),
    ("{premise}\n\nIs it so &amp; that {hypothesis}\n\n{options}", "stray-characters"),
    ("{premise}\n\nIs it donâ€™t so that {hypothesis}\n\n{options}", "stray-characters"),
    ("{premise}\n\nTODO: is it so that {hypothesis}\n\n{options}", "stray-characters"),
    ("{premise}\n\nIs is it true that {hypothesis}\n\n{options}", "repeated-word"),
    ("{premise}\n\nIs it true that that {hypothesis}\n\n{options}", None),
    ("{premise}\n\nIs it it true that {hypothesis}\n\n{options}", "repeated-word"),
    ('{premise}\n\nIs it true that "{hypothesis}\n\n{options}', "unbalanced"),
    ("{premise}\n\nIs it (so to speak true that {hypothesis}\n\n{options}", "unbalanced"),
    ("{premise}\n\na) Does A imply B, or b) is it so that {hypothesis}\n\n{options}", None),
    ("{premise}\n\nIs it so] true that {hypothesis}\n\n{options}", "unbalanced"),
    ("{premise}\n\nIs it “so, true that {hypothesis}\n\n{options}", "unbalanced"),
]


@pytest.mark.parametrize(("planted", "rule"), STRAY)
def test_stray_text(planted, rule):
    findings = found(NLI, with_template(CLEAN_NLI, "t0", input=planted))
    assert ("t0", rule) in findings if rule else findings == set()


STRUCTURE = [
    ("{premise}\n\nIs it true?\n{hypotesis}\n\n{options}", "unknown-field"),
    ("Is it true? Answer the question.\n\n{options}", "no-content"),
    ("{premise}\n\nIs it true that {hypothesis}", "missing-options"),
    ("{premise}\n\nIs it true that {hypothesis}\n{answer}\n\n{options}", "answer-in-input"),
    ("{premise}\n\nIs it true that {hypothesis} {options}", "options-place"),
    ("{options}\n\n{premise}\n\nIs it true that {hypothesis}\n\n{options}", "options-place"),
    ("{premise}\n\nIs it true that {hypothesis}\n\nOPTIONS:\n{options}", "options-place"),
]


@pytest.mark.parametrize(("planted", "rule"), STRUCTURE)
def test_structure_of_an_input(planted, rule):
    assert ("t0", rule) in found(NLI, with_template(CLEAN_NLI, "t0", input=planted))


def test_a_generation_task_has_no_options():
    planted = with_template(CLEAN_QA, "t0", input="{context}\n{question}\n{options}")
    assert ("t0", "unknown-field") in found(QA, planted)


def test_a_field_that_nobody_uses():
    dataset = dataclasses.replace(NLI, fields=("premise", "hypothesis", "genre"))
    assert ("file", "unused-field") in found(dataset, CLEAN_NLI)


@pytest.mark.parametrize("number", [9, 11])
def test_ten_templates(number):
    templates = (*CLEAN_NLI.templates, dataclasses.replace(CLEAN_NLI.templates[0], id="t10"))
    planted = dataclasses.replace(CLEAN_NLI, templates=templates[:number])
    assert ("file", "count") in found(NLI, planted)


def test_ids_in_order():
    a, b, *rest = CLEAN_NLI.templates
    planted = dataclasses.replace(CLEAN_NLI, templates=(b, a, *rest))
    assert {("t0", "ids"), ("t1", "ids")} <= found(NLI, planted)


def test_an_inverted_template_that_evaluation_would_use():
    planted = with_template(CLEAN_NLI, "t8", kind="forward")
    assert ("t8", "forward-target") in found(NLI, planted)
    assert ("t8", "answer-in-input") in found(NLI, planted)


def test_more_than_three_inverted():
    planted = CLEAN_NLI
    for name in ("t0", "t1"):
        planted = with_template(planted, name, kind="inverted", target="{premise}")
    assert ("file", "inverted-count") in found(NLI, planted)


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "{premise}"},
        {"target": "{answer}"},
        {"target": "A statement."},
        {"input": "{premise}\n\nWhat is the statement?\n\n{options}"},
    ],
)
def test_inverted_templates_that_turn_nothing_around(changes):
    assert ("t8", "inverted-target") in found(NLI, with_template(CLEAN_NLI, "t8", **changes))


def test_an_exact_duplicate():
    planted = with_template(CLEAN_NLI, "t5", input=NLI_INPUTS[4])
    assert ("t5", "near-duplicate") in found(NLI, planted)


@pytest.mark.parametrize(
    ("old", "new"),
    [("know", "think"), ("this.", "this:"), ("Suppose we know", "Suppose that we do know")],
)
def test_a_word_swapped(old, new):
    planted = with_template(CLEAN_NLI, "t5", input=NLI_INPUTS[4].replace(old, new, 1))
    assert ("t5", "near-duplicate") in found(NLI, planted)


def test_an_instruction_moved():
    planted = with_template(
        CLEAN_NLI, "t0", input="Is it really so?\n\n{premise}\n{hypothesis}\n\n{options}"
    )
    planted = with_template(
        planted, "t1", input="{premise}\n{hypothesis}\n\nIs it really so?\n\n{options}"
    )
    assert ("t1", "near-duplicate") in found(NLI, planted)


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_edit_distance_is_a_metric(a, b, c):
    assert edit_distance(a, b) == edit_distance(b, a) <= max(len(a), len(b))
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_a_field_that_always_holds_the_answer():
    rows = [qa_row(f"answer {n}", question=f"answer {n}") for n in range(9)]
    assert ("t0", "row-answer-in-input") in found(QA, CLEAN_QA, rows)
    rows[4] = qa_row("answer 4", question="Where?")
    assert ("t0", "row-answer-in-input") not in found(QA, CLEAN_QA, rows)


def test_a_field_left_out():
    planted = with_template(CLEAN_QA, "t0", input="{question}\n\nGive a short reply.")
    assert ("t0", "row-left-out") in found(QA, planted, QA_ROWS)


def test_an_empty_field_and_a_padded_one():
    empty = Fields({"context": " ", "question": "Where?"}, "In Paris", references=("In Paris",))
    assert ("t0", "row-empty-field") in found(QA, CLEAN_QA, [empty])
    assert ("file", "row-padding") in found(QA, CLEAN_QA, [qa_row(context="Text.\n")])


def test_rows_that_are_not_as_the_catalog_says():
    missing = choice(OPTIONS, 0, premise="It rains.")
    assert ("file", "row-fields") in found(NLI, CLEAN_NLI, [missing])
    assert ("t0", "row-renders") in found(NLI, CLEAN_NLI, [missing])
    # STS-B's floats against string options: an answer that is worded otherwise than options.
    other = choice(("1.0", "2.0", "3.0"), 0, premise="It rains.", hypothesis="It is wet.")
    assert ("file", "row-fields") in found(NLI, CLEAN_NLI, [other])


def test_every_rule_says_what_it_wants():
    for rule in RULES.values():
        assert rule.summary.endswith(".")
