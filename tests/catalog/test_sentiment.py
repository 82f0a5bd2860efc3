"""Sentiment: neutral tweets, web line breaks, escapes, and reviews too long for the model."""

import random

import pytest

from flan.catalog import get_dataset, get_datasets
from flan.data.demo_rows import generator
from flan.data.demo_rows.sentiment import BLAME, PRAISE

NAMES = ("imdb_reviews", "sentiment140", "sst2", "yelp_polarity_reviews")
DEMO = [(d.name, s.tfds) for d in get_datasets(NAMES) for s in d.sources]


def tweet(polarity, text="so it goes"):
    return {"polarity": polarity, "date": "", "query": "", "user": "", "text": text}


def test_neutral_tweets_are_dropped():
    to_fields = get_dataset("sentiment140").to_fields
    assert to_fields(tweet(2)) is None
    assert to_fields(tweet(0)).answer == "negative"
    assert to_fields(tweet(4)).answer == "positive"


def test_an_unknown_polarity_is_dropped():
    assert get_dataset("sentiment140").to_fields(tweet(1)) is None


def test_tweets_lose_web_escapes():
    fields = get_dataset("sentiment140").to_fields(tweet(4, "Abby &amp; me &lt;3 "))
    assert fields.values == {"tweet": "Abby & me <3"}


@pytest.mark.parametrize("name", ["imdb_reviews", "sst2"])
def test_an_unlabelled_row_is_dropped(name):
    row = {"text": "Fine.", "sentence": "fine . ", "label": -1}
    assert get_dataset(name).to_fields(row) is None


def test_imdb_breaks_become_lines_and_paragraphs():
    row = {"text": "One.<br />Two. <br /><br /> Three \x96 four\x85", "label": 1}
    assert get_dataset("imdb_reviews").to_fields(row).values == {
        "review": "One.\nTwo.\n\nThree – four…"
    }


def test_yelp_escapes_are_undone():
    row = {"text": r"A \"\"great\"\" place.\n\nBack " "soon" "." + '""', "label": 1}
    review = get_dataset("yelp_polarity_reviews").to_fields(row).values["review"]
    assert "\\" not in review
    assert '""' not in review
    assert review.startswith('A "')
    assert "place.\n\nBack" in review


def test_yelp_unicode_escapes_are_undone():
    row = {"text": r"Saut\u00e9ed \ud83d\ude00 greens\ud83d.\nGood.", "label": 1}
    fields = get_dataset("yelp_polarity_reviews").to_fields(row)
    assert fields.values == {"review": "Sautéed \U0001f600 greens.\nGood."}


def test_tweets_are_decoded_again():
    row = {"polarity": 4, "text": "croÃ»tons &lt;3 &amp"}
    assert get_dataset("sentiment140").to_fields(row).values == {"tweet": "croûtons <3 &"}


def test_sst2_text_is_detokenized():
    row = {"sentence": "it 's a warm -lrb- if slight -rrb- film . ", "label": 1, "idx": 0}
    fields = get_dataset("sst2").to_fields(row)
    assert fields.values == {"sentence": "it's a warm (if slight) film."}


@pytest.mark.parametrize("name", ["imdb_reviews", "yelp_polarity_reviews"])
def test_a_very_long_review_keeps_its_beginning_and_its_verdict(name):
    text = "I begin here. " + "And then some more of it. " * 500 + "A triumph."
    review = get_dataset(name).to_fields({"text": text, "label": 1}).values["review"]
    assert len(review) < 3_700
    assert review.startswith("I begin here.")
    assert review.endswith("A triumph.")
    assert review.count(" [...] ") == 1


@pytest.mark.parametrize(("name", "tfds"), DEMO)
def test_demo_rows_become_fields_with_each_answer(name, tfds):
    dataset = get_dataset(name)
    fields = [dataset.to_fields(row) for row in generator("sentiment", tfds)(random.Random(3), 300)]
    assert None not in fields
    assert 100 < sum(f.label for f in fields) < 200
    assert len({tuple(f.values.values()) for f in fields}) > 250


@pytest.mark.parametrize(("name", "tfds"), DEMO)
def test_demo_texts_praise_or_blame(name, tfds):
    dataset = get_dataset(name)
    for row in generator("sentiment", tfds)(random.Random(4), 100):
        fields = dataset.to_fields(row)
        (text,) = fields.values.values()
        words = set(text.replace("!", " ").replace(".", " ").replace(",", " ").split())
        assert bool(words & set(PRAISE)) == (fields.label == 1), row
        assert bool(words & set(BLAME)) == (fields.label == 0), row
