"""Closed-book question answering: the model has to know the answer, no text is given."""

from __future__ import annotations

from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.registry import register
from flan.catalog.text import one_line

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
    if row["answerKey"] == -1:
        return None
    return choice(
        [one_line(text) for text in choices["text"]],
        list(choices["label"]).index(row["answerKey"]),
        question=row["question"].strip(),
    )
