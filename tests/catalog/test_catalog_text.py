"""Cleaning of long texts: punctuation, whitespace, lengths."""

from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.text import leading_words, one_line, squeeze, strip_punctuation


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
