"""One example as a model meets it: its text, its tokens, and which of them have loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from flan.data.tokenization import INPUT_LENGTH, TARGET_LENGTH, tokenize
from flan.data.vocabulary import Vocabulary
from flan.templates.template import Rendered


@dataclasses.dataclass(frozen=True)
class TokenView:
    """The tokens inputs + EOS + targets + EOS; inputs + EOS for an empty target.

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


def view_tokens(
    rendered: Rendered,
    vocabulary: Vocabulary,
    input_length: int = INPUT_LENGTH,
    target_length: int = TARGET_LENGTH,
) -> TokenView:
    """An example's tokens, by the function that tokenizes for training.

    Raises ValueError for a length below 2.
    """
    tokenized = tokenize(vocabulary, [rendered], input_length, target_length)
    ids: list[int] = tokenized.tokens.tolist()
    inputs = int(tokenized.input_lengths[0])
    kept_inputs, kept_targets = ids[: inputs - 1], ids[inputs:-1]
    shown = [*pieces(vocabulary, kept_inputs), ""]
    if len(ids) > inputs:  # raw text has no target at all
        shown += [*pieces(vocabulary, kept_targets), ""]
    return TokenView(
        ids=ids,
        pieces=shown,
        input_length=inputs,
        cut_inputs=len(vocabulary.encode(rendered.input)) - len(kept_inputs),
        cut_targets=len(vocabulary.encode(rendered.target)) - len(kept_targets),
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
