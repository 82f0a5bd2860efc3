"""Closed-book question answering: the model has to know the answer, no text is given."""

from __future__ import annotations

from flan.catalog.dataset import Fields, Row, Source, choice, free_form
from flan.catalog.encoding import repair_encoding
from flan.catalog.questions import as_question, finish_question, unquote_cell
from flan.catalog.registry import register
from flan.catalog.text import one_line

# Capitals longer than this are a shouted word rather than an abbreviation.
_ABBREVIATION = 5

ARC = "TFDS ai2_arc 1.0.0, catalog"


@register(
    name="arc",
    cluster="closed_book_qa",
    title="ARC",
    task_type="multiple_choice",
    fields=("question",),
    metrics=("accuracy",),
    sources=(
        Source(
            "easy",
            "ai2_arc/ARC-Easy",
            "1.0.0",
            test="test",
            sizes={"train": 2_251, "validation": 570, "test": 2_376},
            sizes_from=ARC,
        ),
        Source(
            "challenge",
            "ai2_arc/ARC-Challenge",
            "1.0.0",
            test="test",
            sizes={"train": 1_119, "validation": 299, "test": 1_172},
            sizes_from=ARC,
        ),
    ),
)
def arc(row: Row) -> Fields | None:
    """AI2 Reasoning Challenge (ai2_arc): multiple-choice questions of school science exams.

    Row:    {"question": "Which of these is a source of light?", "answerKey": 2,
             "choices": {"label": [0, 1, 2, 3], "text": ["Moon", "mirror", "Sun", "rock"]},
             "id": "X_1"}
    Fields: question as it is (about a quarter are sentences to finish, not questions);
            options are the three to five choices; answer "Sun". The answer key is a letter,
            so it is looked up among the choices' letters rather than taken as a position.
    """
    choices = row["choices"]
    letters = list(choices["label"])[: len(choices["text"])]
    if row["answerKey"] == -1 or row["answerKey"] not in letters:
        return None
    return choice(
        [one_line(text) for text in choices["text"]],
        letters.index(row["answerKey"]),
        question=row["question"].strip(),
    )


@register(
    name="natural_questions",
    cluster="closed_book_qa",
    title="Natural Questions",
    task_type="generation",
    fields=("question",),
    metrics=("exact_match", "f1"),
    version=2,
    sources=(
        Source(
            "natural_questions",
            "natural_questions_open",
            "1.0.0",
            sizes={"train": 87_925, "validation": 3_610},
            sizes_from="TFDS natural_questions_open 1.0.0, catalog",
        ),
    ),
)
def natural_questions(row: Row) -> Fields | None:
    """Natural Questions, open (natural_questions_open): queries to a search engine, no text given.

    Row:    {"question": "who invented the lightning rod", "answer": ["Benjamin Franklin"]}
    Fields: question "Who invented the lightning rod?", with a capital and exactly one
            question mark; answer "Benjamin Franklin"; references, all answers of the row.
    """
    return free_form(
        [one_line(repair_encoding(answer)) for answer in row["answer"]],
        question=as_question(one_line(repair_encoding(row["question"]))),
    )


@register(
    name="trivia_qa",
    cluster="closed_book_qa",
    title="TriviaQA",
    task_type="generation",
    fields=("question",),
    metrics=("exact_match", "f1"),
    version=2,
    sources=(
        Source(
            "trivia_qa",
            "trivia_qa/rc",
            "1.1.0",
            sizes={"train": 138_384, "validation": 18_669, "test": 17_210},
            sizes_from="TFDS trivia_qa, catalog; validation from the Hugging Face card of rc",
        ),
    ),
)
def trivia_qa(row: Row) -> Fields | None:
    """TriviaQA (trivia_qa/rc): questions of quiz enthusiasts, here without their evidence pages.

    Row:    {"question": "Which river flows through Vienna", "question_id": "x", ...,
             "answer": {"value": "DANUBE", "aliases": ["Danube", "River Danube"], ...}}
    Fields: question "Which river flows through Vienna?"; answer "Danube", the alias where the
            value itself is in capitals; references ("Danube", "DANUBE", "River Danube"): the
            value and all aliases. All are freed of a CSV file's quoting where they kept
            that. The test split's answers are "<unk>".
    """
    value, *aliases = map(_trivia_text, (row["answer"]["value"], *row["answer"]["aliases"]))
    if value == "<unk>":
        return None
    return free_form(
        (_in_lower_case(value, aliases), value, *aliases),
        question=finish_question(_trivia_text(row["question"])),
    )


def _trivia_text(text: str) -> str:
    return one_line(unquote_cell(repair_encoding(text)))


def _in_lower_case(value: str, aliases: list[str]) -> str:
    """The alias that spells a shouted value (a quarter of them are) as one writes it."""
    if value.isupper() and len(value) > _ABBREVIATION:
        for alias in aliases:
            if alias.casefold() == value.casefold() and not alias.isupper():
                return alias
    return value
