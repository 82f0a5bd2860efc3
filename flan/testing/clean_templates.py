"""Two sets of templates that the linter has nothing to say about, for tests that plant mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from flan.catalog.dataset import Dataset, Fields, Source, choice, free_form
from flan.templates import Template, TemplateSet, Text
from flan.templates.lint import check_templates
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


def template_set(
    dataset: Dataset,
    inputs: Sequence[str],
    inverted: Sequence[tuple[str, str]],
    plain: str,
    baseline: Baseline,
) -> TemplateSet:
    """Templates t0, t1, ... of inputs as written, answered by `{answer}`, then the inverted ones.

    `inverted` holds inputs and targets, `plain` is the text without an instruction.
    """
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
    """A row of NLI with a label's number; `values` replace its texts."""
    fields = choice(
        OPTIONS, label, **{"premise": "It rains.", "hypothesis": "It is wet.", **values}
    )
    assert fields is not None
    return fields


def qa_row(answer: str = "In Paris", **values: str) -> Fields:
    """A row of QA; `values` replace its texts."""
    fields = free_form(answer, **{"context": "She is in Paris.", "question": "Where?", **values})
    assert fields is not None
    return fields


NLI_ROWS = [nli_row(n % 3, premise=f"It rains for day {n}.") for n in range(9)]
QA_ROWS = [qa_row(f"answer {n}", context=f"Text {n} has answer {n}.") for n in range(9)]


def with_template(templates: TemplateSet, template_id: str, **changes: str) -> TemplateSet:
    """The set with one template changed; texts are given as written."""
    parsed: dict[str, Any] = {
        k: Text.parse(v) if k in ("input", "target") else v for k, v in changes.items()
    }
    new = [
        dataclasses.replace(t, **parsed) if t.id == template_id else t for t in templates.templates
    ]
    return dataclasses.replace(templates, templates=tuple(new))


def found(
    dataset: Dataset,
    templates: TemplateSet,
    rows: Sequence[Fields] = (),
    encode: Callable[[str], Sequence[int]] | None = None,
) -> set[tuple[str, str]]:
    """What the linter says: (template, rule)."""
    return {(f.template, f.rule) for f in check_templates(dataset, templates, rows, encode)}
