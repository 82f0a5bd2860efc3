import random

import pytest

from flan.catalog.extra import english_text
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import generator


def test_true_case_and_word_segment_repair_the_same_text():
    row = {"en": "In May, Ann  visited\u00a0Ribe.", "da": "I maj besøgte Ann Ribe."}
    cased, segmented = (get_dataset(n).to_fields(row) for n in ("true_case", "word_segment"))
    assert cased.answer == segmented.answer == "In May, Ann visited Ribe."
    assert cased.values == {"text": "in may, ann visited ribe."}
    assert segmented.values == {"text": "InMay,AnnvisitedRibe."}


@pytest.mark.parametrize("english", ["", "Read more", "12 - 14 - 16", "word " * 81])
def test_texts_that_are_no_sentence_are_dropped(english):
    row = {"en": english, "da": "x"}
    assert english_text(row) is None
    assert get_dataset("true_case").to_fields(row) is None
    assert get_dataset("word_segment").to_fields(row) is None


@pytest.mark.parametrize("name", ["true_case", "word_segment"])
def test_demo_rows_pass_through(name):
    rows = generator("extra", "para_crawl/enda")(random.Random(0), 2000)
    fields = [get_dataset(name).to_fields(row) for row in rows]
    assert len({f.answer for f in fields}) > 1500
    assert all(f.values["text"] != f.answer for f in fields)
