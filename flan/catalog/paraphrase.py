"""Paraphrase: whether two sentences, or two questions, mean the same."""

from __future__ import annotations

import math

from flan.catalog.cleanup import detokenize, straight_quotes
from flan.catalog.dataset import Fields, Row, Source, any_blank, choice
from flan.catalog.encoding import repair_encoding, unescape_entities
from flan.catalog.registry import register
from flan.catalog.text import one_line

GLUE = "TFDS glue 2.0.0, catalog"
SCORES = ("0", "1", "2", "3", "4", "5")


@register(
    name="mrpc",
    cluster="paraphrase",
    title="MRPC",
    task_type="classification",
    fields=("sentence1", "sentence2"),
    options=("no", "yes"),
    labels=("not_equivalent", "equivalent"),
    metrics=("accuracy", "binary_f1"),
    version=2,
    sources=(
        Source(
            "mrpc",
            "glue/mrpc",
            "2.0.0",
            sizes={"train": 3_668, "validation": 408, "test": 1_725},
            sizes_from=GLUE,
        ),
    ),
)
def mrpc(row: Row) -> Fields | None:
    """Microsoft Research Paraphrase Corpus (glue/mrpc): pairs of tokenized news sentences.

    Row:    {"sentence1": "The mayor said the bridge would reopen in May , weeks early .",
             "sentence2": "The bridge will reopen weeks early , in May , the mayor said .",
             "label": 1, "idx": 0}
    Fields: both sentences without the tokenizer's spaces; options ("no", "yes"), answer "yes".
    """
    return choice(
        ("no", "yes"),
        row["label"],
        sentence1=detokenize(row["sentence1"]),
        sentence2=detokenize(row["sentence2"]),
    )


@register(
    name="paws_wiki",
    cluster="paraphrase",
    title="PAWS",
    task_type="classification",
    fields=("sentence1", "sentence2"),
    options=("no", "yes"),
    labels=("different_meaning", "paraphrase"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "paws_wiki",
            "paws_wiki/labeled_final_tokenized",
            "1.1.0",
            test="test",
            sizes={"train": 49_401, "validation": 8_000, "test": 8_000},
            sizes_from="TFDS paws_wiki 1.1.0, catalog",
        ),
    ),
)
def paws_wiki(row: Row) -> Fields | None:
    """PAWS (paws_wiki/labeled_final_tokenized): Wikipedia sentences with nearly the same words,
    often in another order, so that overlap says little about meaning.

    The tokenizer's spaces and quotes are undone: both sentences of a pair were tokenized
    alike, so nothing that the label rests on is lost.

    Row:    {"sentence1": "The team moved from Leeds to York in 1908 , as `` Rovers '' .",
             "sentence2": "The team moved from York to Leeds in 1908 , as `` Rovers '' .", "label": 0}
    Fields: both sentences ('... in 1908, as "Rovers".'); options ("no", "yes"), answer "no".
    """
    return choice(
        ("no", "yes"),
        row["label"],
        sentence1=detokenize(row["sentence1"]),
        sentence2=detokenize(row["sentence2"]),
    )


@register(
    name="qqp",
    cluster="paraphrase",
    title="QQP",
    task_type="classification",
    fields=("question1", "question2"),
    options=("no", "yes"),
    labels=("not_duplicate", "duplicate"),
    metrics=("accuracy", "binary_f1"),
    sources=(
        Source(
            "qqp",
            "glue/qqp",
            "2.0.0",
            sizes={"train": 363_846, "validation": 40_430, "test": 390_965},
            sizes_from=GLUE,
        ),
    ),
)
def qqp(row: Row) -> Fields | None:
    """Quora Question Pairs (glue/qqp): whether two questions of a forum want the same answer.

    A few questions still carry the quotation marks of a CSV file, which are undone.

    Row:    {"question1": "How do I keep basil alive in winter?",
             "question2": '"How do you keep ""basil"" alive indoors in winter?"', "label": 1, "idx": 0}
    Fields: both questions (the second: How do you keep "basil" alive indoors in winter?);
            options ("no", "yes"), answer "yes".
    """
    return choice(
        ("no", "yes"),
        row["label"],
        question1=_without_csv_quotes(row["question1"].strip()),
        question2=_without_csv_quotes(row["question2"].strip()),
    )


def _without_csv_quotes(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"' and '""' in text[1:-1]:
        return text[1:-1].replace('""', '"').strip()
    return text


@register(
    name="stsb",
    cluster="paraphrase",
    title="STS-B",
    task_type="classification",
    fields=("sentence1", "sentence2"),
    options=SCORES,
    metrics=("pearson", "spearman"),
    version=2,
    sources=(
        Source(
            "stsb",
            "glue/stsb",
            "2.0.0",
            sizes={"train": 5_749, "validation": 1_500, "test": 1_379},
            sizes_from=GLUE,
        ),
    ),
    dev_size=100,
)
def stsb(row: Row) -> Fields | None:
    """Semantic Textual Similarity Benchmark (glue/stsb): how close two sentences are in meaning,
    from 0 (unrelated) to 5 (the same). The gold score is a mean of several people's.

    The model chooses a whole number; halves round up (Python's `round` would turn both 1.5
    and 2.5 into 2). Metrics compare it with the exact score, kept as the reference. A row
    with another label than 0 to 5 is dropped; -1 marks an unlabelled one.

    Row:    {"sentence1": "A man is slicing an onion.", "sentence2": "A man cuts a vegetable.",
             "label": 3.5, "idx": 0}
    Fields: both sentences; options ("0", ..., "5"), answer "4", references ("3.5",).
    """
    score = float(row["label"])
    values = {name: _stsb_text(row[name]) for name in ("sentence1", "sentence2")}
    if not 0 <= score <= 5 or any_blank(values.values()):
        return None
    rounded = math.floor(score + 0.5)
    return Fields(
        values,
        SCORES[rounded],
        SCORES,
        rounded,
        # The builder stores float32: 3.2 arrives as 3.200000047683716. Always with a
        # decimal point, so that an exact "3.0" is never taken for the option "3".
        (str(round(score, 3)),),
    )


def _stsb_text(text: str) -> str:
    return one_line(straight_quotes(unescape_entities(repair_encoding(text))))
