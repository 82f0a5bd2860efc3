"""Text repairs shared by datasets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.cleanup import detokenize, repair_windows_characters, shorten


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("`` It 's late , '' he said ( again ) .", '"It\'s late," he said (again).'),
        ('He called it " the end " , did n\'t he ?', 'He called it "the end", didn\'t he?'),
        (
            "the boys ' toys cost $ 5 -- or 10 % more ...",
            "the boys' toys cost $5 -- or 10% more...",
        ),
        ("-LRB- old -RRB- and ` new . '", "(old) and 'new.'"),
        ("At 9 : 55 : done .", "At 9:55: done."),
        ("They 'll do what I 've done .", "They'll do what I've done."),
    ],
)
def test_detokenize_joins_what_the_tokenizer_split(tokens, text):
    assert detokenize(tokens) == text
    assert detokenize(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "She said \"hello\" (twice), and it's 5.30 p.m. now; isn't it?",
        "The .NET team paid $3.5m - or so - for O'Brien's C# code.",
        "No period here",
    ],
)
def test_detokenize_leaves_plain_text_alone(text):
    assert detokenize(text) == text


@given(st.text(alphabet="ab .,'\"`()", max_size=40))
def test_detokenize_keeps_every_letter_in_order(text):
    kept = [c for c in detokenize(text) if c.isalpha()]
    assert kept == [c for c in text if c.isalpha()]


def test_windows_characters_are_repaired():
    assert repair_windows_characters("well\x85 it\x92s 5\x9610 \x81€") == "well… it’s 5–10 €"


@given(st.text(alphabet="ab \n", max_size=300), st.integers(20, 200))
def test_shorten_cuts_the_middle_only(text, limit):
    short = shorten(text, limit)
    if len(text) <= limit:
        assert short == text
    else:
        head, tail = short.split(" [...] ")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(short) <= limit + len(" [...] ")
