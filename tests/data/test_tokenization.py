"""x + EOS + y + EOS, cut by rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.data.tokenization import tokenize
from flan.templates.template import Rendered


class Letters:
    """A vocabulary of letters: a is 2, b is 3, ..."""

    eos_id = 1

    def encode_batch(self, texts):
        return [[ord(c) - ord("a") + 2 for c in text] for text in texts]


def pieces(result):
    """(inputs, targets) of each example."""
    found, start = [], 0
    for length, inputs in zip(result.lengths, result.input_lengths, strict=True):
        tokens = result.tokens[start : start + length].tolist()
        found.append((tokens[:inputs], tokens[inputs:]))
        start += length
    assert start == len(result.tokens)
    return found


def test_layout():
    result = tokenize(Letters(), [Rendered("ab", "c"), Rendered("", "a"), Rendered("ab", "")])
    assert pieces(result) == [([2, 3, 1], [4, 1]), ([1], [2, 1]), ([2, 3, 1], [])]
    assert [a.dtype.name for a in result[:3]] == ["int32", "int64", "int32"]
    assert (result.cut_inputs, result.cut_targets, result.cut) == (0, 0, 0)


def test_no_examples():
    result = tokenize(Letters(), [])
    assert [len(a) for a in result[:3]] == [0, 0, 0]


def test_cutting_keeps_the_head_and_eos_and_is_counted():
    examples = [Rendered("abc", "ab"), Rendered("abcd", "abc"), Rendered("abcde", "a")]
    result = tokenize(Letters(), examples, 4, 3)
    assert pieces(result) == [
        ([2, 3, 4, 1], [2, 3, 1]),
        ([2, 3, 4, 1], [2, 3, 1]),
        ([2, 3, 4, 1], [2, 1]),
    ]
    assert (result.cut_inputs, result.cut_targets, result.cut) == (2, 1, 2)


LETTERS = st.text("abc", max_size=12)


@given(st.lists(st.tuples(LETTERS, LETTERS), max_size=5), st.integers(2, 9), st.integers(2, 9))
def test_cutting_is_seqio_s_rule(texts, input_length, target_length):
    result = tokenize(Letters(), [Rendered(*t) for t in texts], input_length, target_length)
    for (x, y), (inputs, targets) in zip(texts, pieces(result), strict=True):
        expected = [
            [*Letters().encode_batch([text])[0][: limit - 1], 1]
            for text, limit in ((x, input_length), (y, target_length))
        ]
        if not y:  # a raw text has no target
            expected[1] = []
        assert [inputs, targets] == expected
    long = sum(len(x) >= input_length or len(y) >= target_length for x, y in texts)
    assert result.cut == long


def test_lengths_without_room_are_refused():
    with pytest.raises(ValueError, match=r"2 or more .* got inputs 1, targets 256"):
        tokenize(Letters(), [], 1)
