"""Text repairs shared by datasets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.cleanup import detokenize, detokenize_lines, shorten, straight_quotes


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
        ("I ' m sure they ' ve gone , and I ' d go .", "I'm sure they've gone, and I'd go."),
        ("It didn 't , can 't , don ' t and wo n ' t .", "It didn't, can't, don't and won't."),
        ("O 'Brien met D 'Cunha at 5 o 'clock .", "O'Brien met D'Cunha at 5 o'clock."),
        (
            "They can not go ; I 'm gon na and he 's got ta .",
            "They cannot go; I'm gonna and he's gotta.",
        ),
        ("He can not only sing .", "He can not only sing."),
        ("the teams ' , and the boys ' .", "the teams', and the boys'."),
        ("Is it '2001 : A Space Odyssey ' ?", "Is it '2001: A Space Odyssey'?"),
        ("He said ' hello ' and ' it 's me ' .", "He said 'hello' and 'it's me'."),
        ("rock ' n ' roll", "rock 'n' roll"),
        ("the boys ' toys and the girls ' dolls", "the boys' toys and the girls' dolls"),
        ("He wanted ' ' to see ' ' it .", 'He wanted "to see" it.'),
        ("a comedy\\/drama", "a comedy/drama"),
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
        "Jacobus van 't Hoff got taller in the '90s; they can, not must, sing 'hello'.",
    ],
)
def test_detokenize_leaves_plain_text_alone(text):
    assert detokenize(text) == text


@given(st.text(alphabet="ab .,'\"`()", max_size=40))
def test_detokenize_keeps_every_letter_in_order(text):
    kept = [c for c in detokenize(text) if c.isalpha()]
    assert kept == [c for c in text if c.isalpha()]


TOKENIZED = (
    *("said", "the boys ' toys", "' hello '", "` hi '", "`` so ''", '" no "', "I ' m", "do n't"),
    *("can not", "( 5 % )", "-LRB- a\\/b -RRB-", ",", ".", "O 'Brien", "in 't Veld"),
)


@given(st.lists(st.sampled_from(TOKENIZED)))
def test_detokenizing_twice_changes_nothing_more(words):
    text = detokenize(" ".join(words))
    assert detokenize(text) == text


def test_lines_are_detokenized_where_they_look_so():
    text = "`` We 've come , '' he said .\nIt is -LRB- so -RRB- .\nThis ( one ) is \"not\" .5 so"
    assert detokenize_lines(text) == (
        '"We\'ve come," he said.\nIt is (so).\nThis ( one ) is "not" .5 so'
    )
    assert detokenize_lines(detokenize_lines(text)) == detokenize_lines(text)


def test_latex_quotes():
    assert straight_quotes("``cat-singer'' or 'cat'") == "\"cat-singer\" or 'cat'"


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
