import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.data.preview import pieces, view_tokens
from flan.templates import Rendered


@dataclasses.dataclass(frozen=True)
class Utf8:
    """A vocabulary of bytes: id = byte + 3; EOS is 1."""

    eos_id: int = 1

    def encode(self, text):
        return [byte + 3 for byte in text.encode()]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return bytes(i - 3 for i in ids).decode(errors="replace")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=40)


@given(texts, texts)
def test_tokens_and_loss(inputs, target):
    view = view_tokens(Rendered(inputs, target), Utf8())
    encode = Utf8().encode
    learnt = [*encode(target), 1] if target else []
    assert view.ids == [*encode(inputs), 1, *learnt]
    assert view.loss_weights == [0] * (len(encode(inputs)) + 1) + [1] * len(learnt)
    assert "".join(view.pieces) == inputs + target
    assert len(view.pieces) == len(view.ids)
    assert (view.cut_inputs, view.cut_targets) == (0, 0)


def test_heads_are_kept_and_eos_stays():
    view = view_tokens(Rendered("abcdef", "uvwxyz"), Utf8(), input_length=4, target_length=3)
    assert Utf8().decode(view.ids[:3]) == "abc"
    assert view.ids[3] == view.ids[-1] == 1
    assert (view.input_length, len(view.ids)) == (4, 7)
    assert (view.cut_inputs, view.cut_targets) == (3, 4)


@given(texts)
def test_pieces_join_to_the_text(text):
    assert "".join(pieces(Utf8(), Utf8().encode(text))) == text


@pytest.mark.parametrize("text", ["é", "日本", "a🙂b"])
def test_a_character_in_several_tokens_comes_with_its_last(text):
    found = pieces(Utf8(), Utf8().encode(text))
    assert [p for p in found if p] == list(text)
