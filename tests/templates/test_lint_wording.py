"""Wrong options and wrong words around fields, planted in clean templates: the linter names each."""

import dataclasses

import pytest

from flan.testing.clean_templates import (
    CLEAN_NLI,
    CLEAN_QA,
    NLI,
    NLI_ROWS,
    OPTIONS,
    QA,
    QA_ROWS,
    found,
    qa_row,
    with_template,
)

BAD_OPTIONS = [
    (("yes", "no"), "options-count"),
    (("yes", "Yes", "no"), "options-distinct"),
    (("yes", " yes", "no"), "options-distinct"),
    (("yes", "no ", "unclear"), "options-text"),
    (("it is", "it is not", "unclear"), "option-prefix"),
]
# The dataset's own order is compared with the builder's labels, in the contract test.
BAD_ORDER = [
    (("no", "yes", "unclear"), "options-order"),
    (("Unclear", "Yes", "No"), "options-order"),
]


@pytest.mark.parametrize(
    ("where", "options", "rule"),
    [
        *((where, *bad) for where in ("t0", "baseline", "file") for bad in BAD_OPTIONS),
        *((where, *bad) for where in ("t0", "baseline") for bad in BAD_ORDER),
    ],
)
def test_options_worded_wrongly(where, options, rule):
    dataset, planted = NLI, CLEAN_NLI
    if where == "baseline":
        planted = dataclasses.replace(
            planted, baseline=dataclasses.replace(planted.baseline, options=options)
        )
    elif where == "file":
        dataset = dataclasses.replace(NLI, options=options)
    else:
        planted = with_template(planted, "t0", options=options)
    assert (where, rule) in found(dataset, planted)


def test_options_that_affirm_the_denying_label():
    two = dataclasses.replace(NLI, options=("yes", "no"), labels=("entailment", "not_entailment"))
    planted = with_template(CLEAN_NLI, "t0", options=("It is false.", "It is true."))
    assert ("t0", "options-side") in found(two, planted)
    asked_reversed = with_template(
        planted, "t0", input="{premise}\n\nDo they contradict it?\n{hypothesis}\n\n{options}"
    )
    assert ("t0", "options-side") not in found(two, asked_reversed)


@pytest.mark.parametrize(
    "options",
    [("true", "maybe", "false"), ("false", "true", "neither"), ("maybe", "true", "false")],
)
@pytest.mark.parametrize("where", ["t0", "baseline"])
def test_labels_of_a_three_way_task_in_the_wrong_order(where, options):
    """As CB's baseline had them: its labels are entailment, contradiction, neutral."""
    if where == "baseline":
        baseline = dataclasses.replace(CLEAN_NLI.baseline, options=options)
        planted = dataclasses.replace(CLEAN_NLI, baseline=baseline)
    else:
        planted = with_template(CLEAN_NLI, "t0", options=options)
    assert (where, "options-side") in found(NLI, planted)


def test_options_of_a_vocabulary():
    def initials(text: str) -> list[int]:
        return [ord(word[0]) for word in text.split()]

    planted = with_template(CLEAN_NLI, "t0", options=("yes", "you bet", "no"))
    assert ("t0", "option-prefix") in found(NLI, planted, encode=initials)
    planted = with_template(CLEAN_NLI, "t0", options=("yes", "yonder", "no"))
    assert ("t0", "options-tokens") in found(NLI, planted, encode=initials)
    assert ("t0", "options-tokens") in found(NLI, planted, encode=lambda text: [])


@pytest.mark.parametrize(
    ("planted", "options"),
    [
        # Offers words that are no options.
        ("True or false?\n\n{premise}\n{hypothesis}\n\n{options}", OPTIONS),
        ("Is it so, yes or no?\n\n{premise}\n{hypothesis}\n\n{options}", ("true", "false", "none")),
        # Asks for yes or no, and offers something else.
        ("Is it so?\n\n{premise}\n{hypothesis}\n\n{options}", ("agreement", "conflict", "doubt")),
        # Offers yes and no, and asks nothing.
        ("Describe the sentences.\n\n{premise}\n{hypothesis}\n\n{options}", ("yes", "no", "maybe")),
    ],
)
def test_options_that_do_not_answer_the_question(planted, options):
    templates = with_template(CLEAN_NLI, "t0", input=planted, options=options)
    assert ("t0", "options-question") in found(NLI, templates)


@pytest.mark.parametrize(
    "planted",
    [
        "{premise}\n{hypothesis}\n\nRead the following text.\n\n{options}",
        "{premise}\n{hypothesis}\n\n{options}\n\nDecide on the two texts below.",
        "Is the text above true?\n\n{premise}\n{hypothesis}\n\n{options}",
    ],
)
def test_pointing_at_what_is_not_there(planted):
    findings = found(NLI, with_template(CLEAN_NLI, "t0", input=planted))
    assert ("t0", "points-at-nothing") in findings


@pytest.mark.parametrize(
    "planted",
    [
        "{premise}\n{hypothesis}\n\nWhich of the following is true?\n\n{options}",
        "{premise}\n{hypothesis}\n\nPick one of the following three options.\n\n{options}",
        "Put a headline above the text, true or not.\n\n{premise}\n{hypothesis}\n\n{options}",
    ],
)
def test_pointing_at_what_is_there(planted):
    findings = found(NLI, with_template(CLEAN_NLI, "t0", input=planted))
    assert ("t0", "points-at-nothing") not in findings


def test_asking_for_a_question_and_giving_the_answer():
    planted = with_template(
        CLEAN_QA, "t0", input="{context}\n\nWrite a question about this text. {question}"
    )
    assert ("t0", "asks-for-input") in found(QA, planted)
    planted = with_template(CLEAN_QA, "t0", input="What is a question about this text?\n{context}")
    assert ("t0", "asks-for-input") in found(QA, planted)


@pytest.mark.parametrize(
    "planted",
    [
        "Does {hypothesis} imply {premise}\n\n{options}",
        "If {hypothesis}\n\nis it true that {premise}\n\n{options}",
        "{hypothesis}\n\nCan we conclude that {premise}\n\n{options}",
    ],
)
def test_inference_in_the_wrong_direction(planted):
    assert ("t0", "direction") in found(NLI, with_template(CLEAN_NLI, "t0", input=planted))


def test_a_label_before_the_wrong_field():
    planted = "Is it so?\n\nPremise: {hypothesis}\nHypothesis: {premise}\n\n{options}"
    assert ("t0", "wrong-label") in found(NLI, with_template(CLEAN_NLI, "t0", input=planted))


def test_a_question_mark_after_a_question():
    planted = with_template(CLEAN_QA, "t0", input="{context}\n\n{question}?")
    assert ("t0", "row-punctuation") in found(QA, planted, QA_ROWS)
    assert ("t0", "row-punctuation") not in found(QA, planted, [qa_row(question="where is she")])


@pytest.mark.parametrize("mark", [".", ",", "?", ":", '".', " ."])
def test_a_mark_after_a_sentence(mark):
    quote = '"' if '"' in mark else ""
    planted = f"Is it so that {quote}{{hypothesis}}{mark}\n\n{{premise}}\n\n{{options}}"
    findings = found(NLI, with_template(CLEAN_NLI, "t0", input=planted), NLI_ROWS)
    assert ("t0", "row-punctuation") in findings


def test_a_closing_quote_after_a_sentence_is_fine():
    planted = 'Is "{hypothesis}" true?\n\n{premise}\n\n{options}'
    findings = found(NLI, with_template(CLEAN_NLI, "t0", input=planted), NLI_ROWS)
    assert ("t0", "row-punctuation") not in findings
