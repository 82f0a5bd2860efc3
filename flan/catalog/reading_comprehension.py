"""Reading comprehension: questions whose answer is in a passage that comes with them."""

from __future__ import annotations

from flan.catalog.cleanup import shorten
from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.questions import as_question
from flan.catalog.registry import register


@register(
    name="bool_q",
    cluster="reading_comprehension",
    title="BoolQ",
    task_type="classification",
    fields=("passage", "question", "title"),
    options=("no", "yes"),
    metrics=("accuracy",),
    sources=(
        Source(
            "bool_q",
            "bool_q",
            "1.0.0",
            sizes={"train": 9_427, "validation": 3_270},
            sizes_from="TFDS bool_q 1.0.0, catalog",
        ),
    ),
)
def bool_q(row: Row) -> Fields | None:
    """BoolQ (bool_q): yes/no questions typed into a search engine, with a Wikipedia paragraph.

    Row:    {"question": "is the sea otter a kind of seal", "title": "Sea otter",
             "passage": "The sea otter is a marine mammal of the weasel family.",
             "answer": False}
    Fields: question as "Is the sea otter a kind of seal?"; passage and title as they are
            (a passage beyond 3,600 characters loses its middle);
            options ("no", "yes"), the order of False and True; answer "no".
    """
    return choice(
        ("no", "yes"),
        int(row["answer"]),
        passage=shorten(row["passage"]),
        question=as_question(row["question"]),
        title=row["title"],
    )
