"""Sentiment: whether a review or a message speaks well or badly of its subject."""

from __future__ import annotations

import re

from flan.catalog.cleanup import detokenize, shorten
from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.encoding import repair_encoding, unescape_entities, unescape_unicode
from flan.catalog.registry import register

OPTIONS = ("negative", "positive")

_LINE_BREAKS = re.compile(r"\s*((?:<br\s*/?>\s*)+)")


@register(
    name="imdb_reviews",
    cluster="sentiment",
    title="IMDB",
    task_type="classification",
    fields=("review",),
    options=OPTIONS,
    labels=("neg", "pos"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "imdb_reviews",
            "imdb_reviews/plain_text",
            "1.0.0",
            validation=None,
            test="test",
            sizes={"train": 25_000, "test": 25_000, "unsupervised": 50_000},
            sizes_from="TFDS imdb_reviews 1.0.0, catalog",
        ),
    ),
)
def imdb_reviews(row: Row) -> Fields | None:
    r"""Large Movie Review Dataset (imdb_reviews/plain_text): whole reviews of films, clearly for
    or against. The "unsupervised" split (label -1) is not used.

    Row:    {"text": "Two hours I will never get back.<br /><br />The plot is thin \x96 very thin.",
             "label": 0}
    Fields: review with real line breaks and dashes, its middle cut out when it is very
            long; options ("negative", "positive"), answer "negative".
    """
    text = _LINE_BREAKS.sub(lambda match: "\n\n" if match[1].count("<") > 1 else "\n", row["text"])
    review = shorten(repair_encoding(text).strip())
    return choice(OPTIONS, row["label"], review=review)


@register(
    name="sentiment140",
    cluster="sentiment",
    title="Sentiment140",
    task_type="classification",
    fields=("tweet",),
    options=OPTIONS,
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "sentiment140",
            "sentiment140",
            "1.0.0",
            validation=None,
            test="test",
            sizes={"train": 1_600_000, "test": 498},
            sizes_from="TFDS sentiment140 1.0.0, catalog",
        ),
    ),
)
def sentiment140(row: Row) -> Fields | None:
    """Sentiment140 (sentiment140): tweets. Training labels come from the emoticons that were
    in them (since removed), test labels from people.

    Polarity is 0 (negative), 2 (neutral) or 4 (positive). Only the test split has neutral
    tweets; they are dropped, as anything else would be, since training knows no such class.

    Row:    {"polarity": 0, "date": "Mon May 11 09:12:45 UTC 2009", "query": "NO_QUERY",
             "user": "sam_k", "text": "Rain &amp; more rain. There goes the picnic "}
    Fields: tweet ("Rain & more rain. There goes the picnic"); options
            ("negative", "positive"), answer "negative".
    """
    polarity = row["polarity"]
    if polarity not in (0, 4):
        return None
    tweet = repair_encoding(unescape_entities(row["text"])).strip()
    return choice(OPTIONS, polarity // 4, tweet=tweet)


@register(
    name="sst2",
    cluster="sentiment",
    title="SST-2",
    task_type="classification",
    fields=("sentence",),
    options=OPTIONS,
    labels=("negative", "positive"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "sst2",
            "glue/sst2",
            "2.0.0",
            sizes={"train": 67_349, "validation": 872, "test": 1_821},
            sizes_from="TFDS glue 2.0.0, catalog",
        ),
    ),
)
def sst2(row: Row) -> Fields | None:
    """Stanford Sentiment Treebank (glue/sst2): sentences and phrases of film reviews, in lower
    case and tokenized.

    Row:    {"sentence": "it 's a warm -lrb- if slight -rrb- comedy . ", "label": 1, "idx": 0}
    Fields: sentence without the tokenizer's spaces ("it's a warm (if slight) comedy.");
            options ("negative", "positive"), answer "positive".
    """
    return choice(OPTIONS, row["label"], sentence=detokenize(row["sentence"]))


@register(
    name="yelp_polarity_reviews",
    cluster="sentiment",
    title="Yelp",
    task_type="classification",
    fields=("review",),
    options=OPTIONS,
    labels=("1", "2"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "yelp_polarity_reviews",
            "yelp_polarity_reviews",
            "0.2.0",
            validation=None,
            test="test",
            sizes={"train": 560_000, "test": 38_000},
            sizes_from="TFDS yelp_polarity_reviews 0.2.0, catalog",
        ),
    ),
)
def yelp_polarity_reviews(row: Row) -> Fields | None:
    r"""Yelp polarity (yelp_polarity_reviews): reviews of shops, restaurants and services with one
    or two stars (class "1", negative) or four or five (class "2", positive).

    The builder keeps the escapes of the CSV file (backslash-n, backslash-u00e9, doubled
    quotation marks), which are undone.

    Row:    {"text": "Ordered the \"\"special\"\".\\nArrived cold, and an hour late.", "label": 0}
    Fields: review with real quotation marks and line breaks, its middle cut out when it is
            very long; options ("negative", "positive"), answer "negative".
    """
    text = row["text"].replace("\\n", "\n").replace('\\"', '"').replace('""', '"')
    return choice(OPTIONS, row["label"], review=shorten(unescape_unicode(text).strip()))
