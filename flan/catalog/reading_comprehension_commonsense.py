"""Reading comprehension with commonsense: the passage hints at the answer, it does not say it."""

from __future__ import annotations

import dataclasses

from flan.catalog.cleanup import detokenize
from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.questions import finish_question
from flan.catalog.registry import register
from flan.catalog.text import one_line, squeeze

PLACEHOLDER, BLANK = "@placeholder", "____"


@register(
    name="cosmos_qa",
    cluster="reading_comprehension_commonsense",
    title="CosmosQA",
    task_type="multiple_choice",
    fields=("context", "question"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "cosmos_qa",
            "cosmos_qa",
            "1.0.0",
            sizes={"train": 25_262, "validation": 2_985, "test": 6_963},
            sizes_from="TFDS cosmos_qa 1.0.0, catalog",
        ),
    ),
)
def cosmos_qa(row: Row) -> Fields | None:
    """Cosmos QA (cosmos_qa): what lies between the lines of people's blog posts.

    Row:    {"context": "We waited an hour in the snow . The bus never came .",
             "question": "What did they probably do next ?", "answer0": "They flew home .",
             "answer1": "They walked home .", "answer2": "They got on the bus .",
             "answer3": "None of the above choices .", "label": 1, "id": "x"}
    Fields: context and question with the source's tokenization undone ("What did they
            probably do next?"); options are the four answers; answer "They walked home."
            The builder's test labels are all -1.
    """
    return choice(
        [detokenize(row[f"answer{i}"]) for i in range(4)],
        row["label"],
        context=detokenize(row["context"]),
        question=finish_question(detokenize(row["question"])),
    )


@register(
    name="record",
    cluster="reading_comprehension_commonsense",
    title="ReCoRD",
    task_type="multiple_choice",
    fields=("passage", "query"),
    metrics=("accuracy", "f1"),
    version=2,
    sources=(
        Source(
            "record",
            "super_glue/record",
            "1.0.2",
            sizes={"train": 100_730, "validation": 10_000, "test": 10_000},
            sizes_from="TFDS super_glue 1.0.2, catalog",
        ),
    ),
)
def record(row: Row) -> Fields | None:
    r"""ReCoRD (super_glue/record): which name of a news article belongs in a sentence's gap.

    Several names can be right where they mean the same thing. A row is one example: it
    trains on the first right name and each of them counts in evaluation. (One example for
    each name, as T5 has it, would give articles with many spellings more weight.)

    Row:    {"passage": "Oslo (AP) -- Kari Dahl won the race.\n@highlight\nDahl wins in Oslo",
             "query": "It was the third title for @placeholder.",
             "entities": ["Dahl", "Kari Dahl", "Oslo"], "answers": ["Dahl", "Kari Dahl"],
             "idx": {"passage": 0, "query": 0}}
    Fields: passage with each highlight on a line of its own, without the marker; query with
            a blank, "It was the third title for ____."; options are the article's names;
            answer "Dahl"; references ("Dahl", "Kari Dahl"). Test rows have no answers.
    """
    options = list(dict.fromkeys(one_line(name) for name in row["entities"]))
    answers = list(dict.fromkeys(one_line(name) for name in row["answers"]))
    right = [name for name in answers if name in options]
    if not right or PLACEHOLDER not in row["query"]:
        return None
    fields = choice(
        options,
        options.index(right[0]),
        passage=squeeze(row["passage"].replace("@highlight", "\n")).replace("\n\n", "\n"),
        query=one_line(row["query"].replace(PLACEHOLDER, BLANK)),
    )
    return dataclasses.replace(fields, references=tuple(right)) if fields else None
