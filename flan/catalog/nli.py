"""Natural language inference: whether one text follows from another.

Labels keep the builder's order, which differs from dataset to dataset (CB puts
contradiction second, WNLI puts entailment last); `options` verbalize them in that order.
"""

from __future__ import annotations

from flan.catalog.cleanup import detokenize, detokenize_lines
from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.encoding import repair_encoding, unescape_entities
from flan.catalog.registry import register
from flan.catalog.text import one_line

SUPER_GLUE = "TFDS super_glue 1.0.2, dataset_info"
GLUE = "TFDS glue 2.0.0, catalog"
MNLI_SIZES = {
    "train": 392_702,
    "validation_matched": 9_815,
    "validation_mismatched": 9_832,
    "test_matched": 9_796,
    "test_mismatched": 9_847,
}
UNKNOWN = "can't tell"


@register(
    name="anli",
    cluster="nli",
    title="ANLI",
    task_type="classification",
    fields=("premise", "hypothesis"),
    options=("yes", UNKNOWN, "no"),
    labels=("e", "n", "c"),
    metrics=("accuracy",),
    version=2,
    sources=tuple(
        Source(
            name,
            f"anli/{name}",
            "0.1.0",
            test="test",
            sizes={"train": train, "validation": held_out, "test": held_out},
            sizes_from="TFDS anli 0.1.0, catalog",
        )
        for name, train, held_out in (
            ("r1", 16_946, 1_000),
            ("r2", 45_460, 1_000),
            ("r3", 100_459, 1_200),
        )
    ),
)
def anli(row: Row) -> Fields | None:
    """Adversarial NLI (anli/r1, r2, r3): hypotheses that people wrote to mislead a model, in
    three rounds of growing difficulty, about passages of Wikipedia and other sources.

    Row:    {"uid": "r1-17", "context": "The Silver Lantern is a 1954 western. It was filmed in Utah.",
             "hypothesis": "The Silver Lantern was released in 1955.", "label": 2}
    Fields: premise (the row's context, with "<br>" as a line end; its tokenized lines, mostly
            of round 3, as people write them) and hypothesis; options ("yes", "can't tell",
            "no"), answer "no".
    """
    return choice(
        ("yes", UNKNOWN, "no"),
        row["label"],
        premise=detokenize_lines(repair_encoding(row["context"].replace("<br>", "\n"))).strip(),
        hypothesis=row["hypothesis"].strip(),
    )


@register(
    name="cb",
    cluster="nli",
    title="CB",
    task_type="classification",
    fields=("premise", "hypothesis"),
    options=("yes", "no", UNKNOWN),
    labels=("entailment", "contradiction", "neutral"),
    metrics=("accuracy", "macro_f1"),
    version=2,
    sources=(
        Source(
            "cb",
            "super_glue/cb",
            "1.0.2",
            sizes={"train": 250, "validation": 56, "test": 250},
            sizes_from=SUPER_GLUE,
        ),
    ),
    dev_size=50,
)
def cb(row: Row) -> Fields | None:
    """CommitmentBank (super_glue/cb): whether the speaker is committed to a clause under "know",
    "think" or "if". From fiction, newspapers and telephone talk, partly tokenized.

    Row:    {"premise": "B: Do you like it? A: Well, I do n't think it 's worth the money .",
             "hypothesis": "it's worth the money", "label": 1, "idx": 0}
    Fields: premise without the tokenizer's spaces ("don't", "it's", "money.") and hypothesis;
            options ("yes", "no", "can't tell"), answer "no".
    """
    return choice(
        ("yes", "no", UNKNOWN),
        row["label"],
        premise=detokenize(row["premise"]),
        hypothesis=detokenize(row["hypothesis"]),
    )


@register(
    name="mnli",
    cluster="nli",
    title="MNLI",
    task_type="classification",
    fields=("premise", "hypothesis"),
    options=("yes", UNKNOWN, "no"),
    labels=("entailment", "neutral", "contradiction"),
    metrics=("accuracy",),
    version=2,
    # One training split belongs to both halves of the evaluation. Only the first source
    # reads it, so that its rows count once.
    sources=(
        Source(
            "matched",
            "glue/mnli",
            "2.0.0",
            validation="validation_matched",
            sizes=MNLI_SIZES,
            sizes_from=GLUE,
        ),
        Source(
            "mismatched",
            "glue/mnli",
            "2.0.0",
            train=None,
            validation="validation_mismatched",
            sizes=MNLI_SIZES,
            sizes_from=GLUE,
        ),
    ),
)
def mnli(row: Row) -> Fields | None:
    """Multi-Genre NLI (glue/mnli): inference over ten genres; the "mismatched" half of the
    evaluation has genres that training lacks.

    Row:    {"premise": "Most of the stalls close by noon.",
             "hypothesis": "The stalls sell fresh fruit.", "label": 1, "idx": 0}
    Fields: premise and hypothesis, without what is left of a tokenizer and of HTML; options
            ("yes", "can't tell", "no"), answer "can't tell".
    """
    return choice(
        ("yes", UNKNOWN, "no"),
        row["label"],
        premise=_mnli_text(row["premise"]),
        hypothesis=_mnli_text(row["hypothesis"]),
    )


def _mnli_text(text: str) -> str:
    return detokenize_lines(unescape_entities(repair_encoding(text))).strip()


@register(
    name="qnli",
    cluster="nli",
    title="QNLI",
    task_type="classification",
    fields=("question", "sentence"),
    options=("yes", "no"),
    labels=("entailment", "not_entailment"),
    metrics=("accuracy",),
    sources=(
        Source(
            "qnli",
            "glue/qnli",
            "2.0.0",
            sizes={"train": 104_743, "validation": 5_463, "test": 5_463},
            sizes_from=GLUE,
        ),
    ),
)
def qnli(row: Row) -> Fields | None:
    """Question NLI (glue/qnli): whether a sentence of a Wikipedia paragraph answers a question.

    Row:    {"question": "When was the bridge opened?",
             "sentence": "The bridge was opened in 1932 by the mayor.", "label": 0, "idx": 0}
    Fields: question and sentence; options ("yes", "no"), answer "yes".
    """
    return choice(
        ("yes", "no"),
        row["label"],
        question=row["question"].strip(),
        sentence=row["sentence"].strip(),
    )


@register(
    name="rte",
    cluster="nli",
    title="RTE",
    task_type="classification",
    fields=("premise", "hypothesis"),
    options=("yes", "no"),
    labels=("entailment", "not_entailment"),
    metrics=("accuracy",),
    version=2,
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

    Row:    {"premise": "The ferry has not sailed since the storm.",
             "hypothesis": "The ferry sailed during the storm.", "label": 1, "idx": 0}
    Fields: premise and hypothesis, each on one line; options ("yes", "no"), answer "no".
    """
    return choice(
        ("yes", "no"),
        row["label"],
        premise=_rte_text(row["premise"]),
        hypothesis=_rte_text(row["hypothesis"]),
    )


def _rte_text(text: str) -> str:
    return detokenize_lines(one_line(repair_encoding(text)))


@register(
    name="snli",
    cluster="nli",
    title="SNLI",
    task_type="classification",
    fields=("premise", "hypothesis"),
    options=("yes", UNKNOWN, "no"),
    labels=("entailment", "neutral", "contradiction"),
    metrics=("accuracy",),
    sources=(
        Source(
            "snli",
            "snli",
            "1.1.0",
            test="test",
            sizes={"train": 550_152, "validation": 10_000, "test": 10_000},
            sizes_from="TFDS snli 1.1.0, catalog",
        ),
    ),
)
def snli(row: Row) -> Fields | None:
    """Stanford NLI (snli): captions of photographs, and what people wrote about the same scene.

    About 0.2% of the rows have no majority label (-1) and are dropped.

    Row:    {"premise": "A girl in a yellow coat feeds the ducks.",
             "hypothesis": "A girl is outdoors.", "label": 0}
    Fields: premise and hypothesis; options ("yes", "can't tell", "no"), answer "yes".
    """
    return choice(
        ("yes", UNKNOWN, "no"),
        row["label"],
        premise=row["premise"].strip(),
        hypothesis=row["hypothesis"].strip(),
    )


@register(
    name="wnli",
    cluster="nli",
    title="WNLI",
    task_type="classification",
    fields=("sentence1", "sentence2"),
    options=("no", "yes"),
    labels=("not_entailment", "entailment"),
    metrics=("accuracy",),
    sources=(
        Source(
            "wnli",
            "glue/wnli",
            "2.0.0",
            sizes={"train": 635, "validation": 71, "test": 146},
            sizes_from=GLUE,
        ),
    ),
    dev_size=30,
)
def wnli(row: Row) -> Fields | None:
    """Winograd NLI (glue/wnli): whether a statement holds in which a noun replaces a pronoun.

    Row:    {"sentence1": "The vase did not fit into the crate because it was too tall.",
             "sentence2": "The crate was too tall.", "label": 0, "idx": 0}
    Fields: sentence1 and sentence2; options ("no", "yes"), answer "no".
    """
    return choice(
        ("no", "yes"),
        row["label"],
        sentence1=row["sentence1"].strip(),
        sentence2=row["sentence2"].strip(),
    )
