"""Text repair tasks outside the 62 datasets: true casing and word segmentation.

Both read the English side of ParaCrawl's English-Danish pages. It is what the paper's code
uses; it is also plain written English with its capitals, spaces and punctuation in place
(LM1B, the other candidate, is tokenized: its spaces are not the ones people write), free to
download, and large enough that 30,000 rows are a small part of it.
"""

from __future__ import annotations

from flan.catalog.dataset import Fields, Row, Source, free_form
from flan.catalog.registry import register

MIN_WORDS, MAX_WORDS = 3, 80


def _source(name: str) -> Source:
    return Source(
        name,
        "para_crawl/enda",
        "1.2.0",
        validation=None,
        sizes={"train": 2_414_895},
        sizes_from="TFDS para_crawl, catalog (1.0.0)",
    )


def english_text(row: Row) -> str | None:
    """The row's English with single spaces; None where it is no sentence to repair.

    That is fewer than 3 words, more than 80, or no letter at all (prices, dates, menus).
    """
    words = row["en"].split()
    if not MIN_WORDS <= len(words) <= MAX_WORDS or not any(c.isalpha() for c in row["en"]):
        return None
    return " ".join(words)


@register(
    name="true_case",
    cluster="extra",
    title="True Case",
    task_type="generation",
    fields=("text",),
    metrics=("bleu", "accuracy"),
    sources=(_source("true_case"),),
)
def true_case(row: Row) -> Fields | None:
    """True casing (para_crawl/enda, English side): give lower-cased text its capitals back.

    Row:    {"en": "In May we visited Ribe, Denmark.", "da": "I maj besøgte vi Ribe i Danmark."}
    Fields: text "in may we visited ribe, denmark."; answer "In May we visited Ribe, Denmark."
    """
    english = english_text(row)
    return free_form(english, text=english.lower()) if english else None


@register(
    name="word_segment",
    cluster="extra",
    title="Word Segmentation",
    task_type="generation",
    fields=("text",),
    metrics=("bleu", "accuracy"),
    sources=(_source("word_segment"),),
)
def word_segment(row: Row) -> Fields | None:
    """Word segmentation (para_crawl/enda, English side): put the spaces back into a text.

    Row:    {"en": "In May we visited Ribe, Denmark.", "da": "I maj besøgte vi Ribe i Danmark."}
    Fields: text "InMaywevisitedRibe,Denmark."; answer "In May we visited Ribe, Denmark."
    """
    english = english_text(row)
    return free_form(english, text=english.replace(" ", "")) if english else None
