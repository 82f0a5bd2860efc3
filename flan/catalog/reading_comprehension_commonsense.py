"""Reading comprehension with commonsense: the passage hints at the answer, it does not say it."""

from __future__ import annotations

from flan.catalog.cleanup import detokenize
from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.registry import register


@register(
    name="cosmos_qa",
    cluster="reading_comprehension_commonsense",
    title="CosmosQA",
    task_type="multiple_choice",
    fields=("context", "question"),
    metrics=("accuracy",),
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
        question=detokenize(row["question"]),
    )
