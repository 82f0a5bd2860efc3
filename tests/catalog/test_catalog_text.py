"""Cleaning of long texts: datelines, punctuation, whitespace, lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.text import leading_words, one_line, squeeze, strip_dateline, strip_punctuation


@pytest.mark.parametrize(
    "opening",
    [
        "(CNN) -- ",
        "(CNN)",
        "(CNN Student News) -- ",
        "(EW.com) -- ",
        "Rome (CNN) ",
        "KABUL, Afghanistan (CNN)",
        "NEW DELHI, India (CNN) -- ",
        "LONDON, England (Reuters) -- ",
        "ON BOARD the Aurora (AP) — ",
        "WASHINGTON -- ",
        "BERGEN, Norway – ",
        "Editor's note: Rosa Vale is a writer. (CNN) -- ",
        "By . Jo Bell . ",
        "By . Jo Bell . and Al Key . PUBLISHED: . 06:37 EST, 2 May 2013 . | . UPDATED: . 12:10 EST, 3 May 2013 . ",
        "By . Associated Press . PUBLISHED: . 06:37 EST, 2 May 2013 . ",
    ],
)
def test_bylines_and_datelines_go(opening):
    assert strip_dateline(opening + "A ship sank on Monday.") == "A ship sank on Monday."


@pytest.mark.parametrize(
    "article",
    [
        "The Associated Press (AP) said on Monday that a ship sank.",
        "A sailor (35) -- the youngest on board -- was saved.",
        "NASA -- which runs the station -- said no.",
        "U.S. -- the sign said.",
        "By the time help came, the ship had sunk.",
        "Rosa said (CNN) -- was wrong.",
        "(CNN) -- ",
        "",
    ],
)
def test_other_openings_stay(article):
    assert strip_dateline(article).strip() == article.strip()


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text):
    for clean in (squeeze, one_line, strip_punctuation):
        assert clean(clean(text)) == clean(text)


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), max_size=20))
def test_bare_words_have_no_punctuation_to_lose(words):
    text = " ".join(words)
    assert strip_punctuation(text) == text


@given(st.text(), st.integers(1, 10))
def test_leading_words_is_a_prefix_of_that_many_words(text, count):
    head = leading_words(text, count)
    assert text.startswith(head)
    assert head.split() == text.split()[:count]
