"""Commonsense: choosing the continuation, the cause or the way of doing a thing that is plausible."""

from __future__ import annotations

from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.registry import register
from flan.catalog.text import one_line

SUPER_GLUE = "TFDS super_glue 1.0.2, catalog"

# COPA's two relations: the question that asks for it, and the word that joins it to the premise.
_COPA_QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
_COPA_LINKS = {"cause": "because", "effect": "so"}


@register(
    name="copa",
    cluster="commonsense",
    title="COPA",
    task_type="multiple_choice",
    fields=("premise", "opening", "relation", "question", "link"),
    metrics=("accuracy",),
    dev_size=50,
    sources=(
        Source(
            "copa",
            "super_glue/copa",
            "1.0.2",
            sizes={"train": 400, "validation": 100, "test": 500},
            sizes_from=SUPER_GLUE,
        ),
    ),
)
def copa(row: Row) -> Fields | None:
    """Choice of Plausible Alternatives (super_glue/copa): the likelier cause or effect of an event.

    Row:    {"premise": "The pond froze over.", "question": "cause",
             "choice1": "The night was very cold.", "choice2": "Children skated on it.",
             "label": 0, "idx": 0}
    Fields: premise as it is; opening is the premise without its full stop; relation "cause"
            or "effect"; question "What was the cause of this?" or "What happened as a
            result?"; link "because" or "so"; options are the two choices, answer
            "The night was very cold."
    """
    relation = row["question"]
    premise = row["premise"].strip()
    return choice(
        (one_line(row["choice1"]), one_line(row["choice2"])),
        row["label"],
        premise=premise,
        opening=premise.rstrip("."),
        relation=relation,
        question=_COPA_QUESTIONS[relation],
        link=_COPA_LINKS[relation],
    )
