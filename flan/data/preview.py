"""One example as a model meets it: its text, its tokens, and which of them have loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from flan.data.vocabulary import Vocabulary
from flan.templates.template import Rendered

# Tokens of an example's input and target at most, EOS included.
INPUT_LENGTH, TARGET_LENGTH = 1024, 256


@dataclasses.dataclass(frozen=True)
class TokenView:
    """The tokens inputs + EOS + targets + EOS.

    Attributes:
      ids: all of them.
      pieces: the text that each adds; "" for one that ends in the middle of a character.
      input_length: tokens of the input with its EOS; these have no loss, the others have.
      cut_inputs, cut_targets: tokens that did not fit.
    """

    ids: list[int]
    pieces: list[str]
    input_length: int
    cut_inputs: int
    cut_targets: int

    @property
    def loss_weights(self) -> list[int]:
        """0 for tokens of the input, 1 for those of the target."""
        return [0] * self.input_length + [1] * (len(self.ids) - self.input_length)


def tokenize(
    rendered: Rendered,
    vocabulary: Vocabulary,
    input_length: int = INPUT_LENGTH,
    target_length: int = TARGET_LENGTH,
) -> TokenView:
    """An example's tokens, cut as training cuts them (heads are kept)."""
    inputs = vocabulary.encode(rendered.input)
    targets = vocabulary.encode(rendered.target)
    kept_inputs, kept_targets = inputs[: input_length - 1], targets[: target_length - 1]
    eos = [vocabulary.eos_id]
    return TokenView(
        ids=kept_inputs + eos + kept_targets + eos,
        pieces=[*pieces(vocabulary, kept_inputs), "", *pieces(vocabulary, kept_targets), ""],
        input_length=len(kept_inputs) + 1,
        cut_inputs=len(inputs) - len(kept_inputs),
        cut_targets=len(targets) - len(kept_targets),
    )


def pieces(vocabulary: Vocabulary, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text; joined they give the decoded text.

    A token that only begins a character adds nothing, and the one that completes it all.
    """
    found: list[str] = []
    text = ""
    for end in range(1, len(ids) + 1):
        decoded = vocabulary.decode(ids[:end])
        whole = decoded.startswith(text) and not decoded.endswith("\ufffd")
        found.append(decoded[len(text) :] if whole else "")
        text = decoded if whole else text
    return found
