"""Each known mistake, planted in templates without any: the linter must name it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.dataset import Dataset, Fields, Source, choice, free_form
from flan.templates import Template, TemplateSet, Text
from flan.templates.lint import RULES, check_templates
from flan.templates.lint.duplicates import edit_distance
from flan.templates.load import Baseline

OPTIONS = ("yes", "no", "unclear")
NLI = Dataset(
    name="claims",
    cluster="nli",
    title="Claims",
    task_type="classification",
    fields=("premise", "hypothesis"),
    options=OPTIONS,
    labels=("entailment", "contradiction", "neutral"),
    sources=(Source("claims", "claims", "1.0.0"),),
    metrics=("accuracy",),
    to_fields=lambda row: None,
)
QA = dataclasses.replace(
    NLI, name="qa", task_type="generation", fields=("context", "question"), options=(), labels=()
)

NLI_INPUTS = (
    "{premise}\n\nJudging from this text alone, is it true that {hypothesis}\n\n{options}",
    "Read the notes and say whether they support the claim.\n\nNotes: {premise}\nClaim: {hypothesis}\n\n{options}",
    'Someone tells you: "{premise}" Would you then believe the one who says "{hypothesis}"\n\n{options}',
    "{options}\n\nGive one of these as your verdict. Can the second sentence be concluded from the first?\n\n1. {premise}\n2. {hypothesis}",
    "Suppose we know this.\n\n{premise}\n\nDo we then know the next thing as well?\n\n{hypothesis}\n\n{options}",
    "Claim: {hypothesis}\nEvidence: {premise}\n\nIs the claim backed up by the evidence?\n\n{options}",
    "A careful reader sees this passage: {premise}\n\nMay she write in her summary: {hypothesis}\n\n{options}",
    "I will give you two sentences and you tell me if one follows from the other. Here is what I start from: {premise} And here is what may follow: {hypothesis}\n\n{options}",
)
QA_INPUTS = (
    "{context}\n\n{question}",
    "Answer with words taken from the passage.\n\nPassage: {context}\nQuestion: {question}",
    "Somebody wants to know: {question}\n\nThis article tells:\n{context}",
    "Read on and find out for me.\n\n{context}\n\nWhat I would like to learn is this. {question}",
    "Q: {question}\nSource: {context}\nA:",
    "Here is a paragraph of an encyclopedia. Please use nothing else to reply.\n\n{context}\n\n{question}",
    "{question} Look it up in the text below.\n\n{context}",
    "A pupil must solve this exercise after reading.\n\nText: {context}\n\nExercise: {question}\n\nSolution:",
    "Your friend cannot find the reply in this report: {context}\n\nHelp with the reply. {question}",
)


def template_set(dataset, inputs, inverted, plain, baseline):
    forward = [
        Template(f"t{n}", Text.parse(text), Text.parse("{answer}")) for n, text in enumerate(inputs)
    ]
    turned = [
        Template(f"t{len(forward) + n}", Text.parse(text), Text.parse(target), "inverted")
        for n, (text, target) in enumerate(inverted)
    ]
    return TemplateSet(dataset.name, (*forward, *turned), Text.parse(plain), baseline)


CLEAN_NLI = template_set(
    NLI,
    NLI_INPUTS,
    (
        (
            'Write a statement to which the reply "{answer}" is right for readers of this text: {premise}',
            "{hypothesis}",
        ),
        (
            "From which text can a person answer {answer} when asked about this?\n\n{hypothesis}",
            "{premise}",
        ),
    ),
    "{premise}\n{hypothesis}",
    Baseline(
        Text.parse("{premise}\nQuestion: {hypothesis} True, false or neither?\nAnswer:"),
        ("true", "false", "neither"),
    ),
)
CLEAN_QA = template_set(
    QA,
    QA_INPUTS,
    (
        (
            "{context}\n\nWrite a question about this text whose answer is: {answer}",
            "{question}",
        ),
    ),
    "{context}\n{question}",
    Baseline(Text.parse("{context}\nQ: {question}\nA:")),
)


def nli_row(label: int = 0, **values: str) -> Fields:
    fields = choice(
        OPTIONS, label, **{"premise": "It rains.", "hypothesis": "It is wet.", **values}
    )
    assert fields is not None
    return fields


def qa_row(answer: str = "In Paris", **values: str) -> Fields:
    fields = free_form(answer, **{"context": "She is in Paris.", "question": "Where?", **values})
    assert fields is not None
    return fields


NLI_ROWS = [nli_row(n % 3, premise=f"It rains for day {n}.") for n in range(9)]
QA_ROWS = [qa_row(f"answer {n}", context=f"Text {n} has answer {n}.") for n in range(9)]


def with_template(templates: TemplateSet, template_id: str, **changes) -> TemplateSet:
    """The set with one template changed; texts are given as written."""
    changes = {k: Text.parse(v) if k in ("input", "target") else v for k, v in changes.items()}
    new = [
        dataclasses.replace(t, **changes) if t.id == template_id else t for t in templates.templates
    ]
    return dataclasses.replace(templates, templates=tuple(new))


def found(dataset, templates, rows=(), encode=None) -> set[tuple[str, str]]:
    return {(f.template, f.rule) for f in check_templates(dataset, templates, rows, encode)}


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
