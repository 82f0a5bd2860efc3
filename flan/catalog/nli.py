"""Natural language inference: does one text follow from another?

Labels keep the builder's order; `options` verbalize them in that order.
"""

from __future__ import annotations

from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.registry import register

SUPER_GLUE = "TFDS super_glue 1.0.2, dataset_info"


@register(
    name="rte",
    cluster="nli",
    title="RTE",
    task_type="classification",
    fields=("premise", "hypothesis"),
    options=("yes", "no"),
    labels=("entailment", "not_entailment"),
    metrics=("accuracy",),
    sources=(
        Source(
            "rte",
            "super_glue/rte",
            "1.0.2",
            sizes={"train": 2490, "validation": 277, "test": 3000},
            sizes_from=SUPER_GLUE,
        ),
    ),
)
def rte(row: Row) -> Fields | None:
    """Recognizing Textual Entailment (super_glue/rte): two-way inference on news sentences.

    Row:    {"premise": "No Weapons of Mass Destruction Found in Iraq Yet.",
             "hypothesis": "Weapons of Mass Destruction Found in Iraq.", "label": 1, "idx": 0}
    Fields: premise and hypothesis as they are; options ("yes", "no"), answer "no".
    """
    return choice(
        ("yes", "no"), row["label"], premise=row["premise"], hypothesis=row["hypothesis"]
    )
