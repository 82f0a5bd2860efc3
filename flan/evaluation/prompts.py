"""From rendered examples to what a model is asked: tokens to read, options to score.

Two formats:

  instructions  the training format (`flan.data.batch`): the model reads x + EOS, then
                writes an option or an answer + EOS. x is cut to 1023 tokens with its head
                kept and a target to 255, exactly as in training.
  baseline      for models that were never tuned: a plain prompt that a space and the
                option or answer continue, no EOS between. A prompt that is too long loses
                its head, since the question stands at its end; an answer ends at a newline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from flan.templates.template import Rendered

Format = Literal["instructions", "baseline"]


class Tokenizer(Protocol):
    """What this module needs of a `flan.data.vocabulary.Vocabulary`."""

    @property
    def eos_id(self) -> int:
        """Ends inputs and targets."""

    def encode_batch(self, texts: list[str], /) -> list[list[int]]:
        """Token ids of each text, no EOS."""

    def decode(self, ids: Iterable[int], /) -> str:
        """Text of the ids before the first EOS."""


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Tokens at most, EOS included, of what is read and of what is written."""

    inputs: int = 1024
    targets: int = 256

    def __post_init__(self) -> None:
        if self.inputs < 2 or self.targets < 2:
            raise ValueError(f"lengths must be 2 or more (a token and EOS), got {self}")


@dataclasses.dataclass(frozen=True, slots=True)
class RankRequest:
    """Score each option as the continuation of one context.

    Attributes:
      context: token ids read first.
      options: token ids of each option, scored one by one.
      option_bytes: UTF-8 length of each option's text, at least 1.
      domain: what stands for the context where an option is scored without it (PMI).
      cut: context tokens that did not fit.
      cut_options: option tokens that did not fit, summed over options.
    """

    context: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    option_bytes: tuple[int, ...]
    domain: tuple[int, ...] = ()
    cut: int = 0
    cut_options: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Continue a prompt.

    Attributes:
      prompt: token ids.
      cut: prompt tokens that did not fit.
    """

    prompt: tuple[int, ...]
    cut: int = 0


def rank_requests(
    rendered: Sequence[Rendered],
    tokenizer: Tokenizer,
    form: Format = "instructions",
    lengths: Lengths | None = None,
    reads_start: bool = True,
    prefix: tuple[int, ...] = (),
) -> list[RankRequest]:
    """Requests to score the options of each example; ValueError where one has none.

    Without the example's input an option follows EOS in `instructions` form (an empty x), in
    `baseline` form the start token alone, or EOS for a model that reads none
    (`reads_start`). `prefix` is read first in any case, and takes none of the lengths.
    """
    for number, example in enumerate(rendered):
        if not example.options:
            raise ValueError(
                f"example {number} has no options to rank: {example.input[:80]!r}; "
                "generate an answer instead"
            )
    lengths = lengths or Lengths()
    if form == "instructions":
        requests = _instruction_ranks(rendered, tokenizer, lengths)
    else:
        domain = () if reads_start else (tokenizer.eos_id,)
        requests = _baseline_ranks(rendered, tokenizer, lengths, domain)
    if not prefix:
        return requests
    return [
        dataclasses.replace(r, context=(*prefix, *r.context), domain=(*prefix, *r.domain))
        for r in requests
    ]


def generation_requests(
    rendered: Sequence[Rendered],
    tokenizer: Tokenizer,
    form: Format = "instructions",
    lengths: Lengths | None = None,
    prefix: tuple[int, ...] = (),
) -> list[GenerationRequest]:
    """Prompts to continue, one for each example, after `prefix`, which takes none of the lengths."""
    lengths = lengths or Lengths()
    encoded = tokenizer.encode_batch([r.input for r in rendered])
    if form == "instructions":
        kept = lengths.inputs - 1
        eos = tokenizer.eos_id
        return [
            GenerationRequest((*prefix, *x[:kept], eos), max(len(x) - kept, 0)) for x in encoded
        ]
    ends = (_keep_end(x, lengths.inputs) for x in encoded)
    return [GenerationRequest((*prefix, *end), cut) for end, cut in ends]


def answer_text(text: str, form: Format) -> str:
    """The answer in a generated text: all of it, or its first line in `baseline` form."""
    return text.strip() if form == "instructions" else text.split("\n", 1)[0].strip()


def newline_ids(tokenizer: Tokenizer, vocab_size: int) -> tuple[int, ...]:
    """All tokens with a line end in them: each ends an answer in `baseline` form."""
    return tuple(i for i in range(vocab_size) if "\n" in tokenizer.decode([i]))


def _instruction_ranks(
    rendered: Sequence[Rendered], tokenizer: Tokenizer, lengths: Lengths
) -> list[RankRequest]:
    texts = list(dict.fromkeys(o for r in rendered for o in r.options))
    option_ids = dict(zip(texts, tokenizer.encode_batch(texts), strict=True))
    eos, kept, kept_option = tokenizer.eos_id, lengths.inputs - 1, lengths.targets - 1
    requests = []
    contexts = tokenizer.encode_batch([r.input for r in rendered])
    for example, x in zip(rendered, contexts, strict=True):
        options = [option_ids[o] for o in example.options]
        requests.append(
            RankRequest(
                context=(*x[:kept], eos),
                options=tuple((*y[:kept_option], eos) for y in options),
                option_bytes=_byte_lengths(example.options),
                domain=(eos,),
                cut=max(len(x) - kept, 0),
                cut_options=sum(max(len(y) - kept_option, 0) for y in options),
            )
        )
    return requests


def _baseline_ranks(
    rendered: Sequence[Rendered], tokenizer: Tokenizer, lengths: Lengths, domain: tuple[int, ...]
) -> list[RankRequest]:
    contexts = tokenizer.encode_batch([r.input for r in rendered])
    # The whole is encoded at once: where a token spans the border, separate pieces would
    # be a sequence that the model has never seen.
    wholes = iter(tokenizer.encode_batch([f"{r.input} {o}" for r in rendered for o in r.options]))
    requests = []
    for example, x in zip(rendered, contexts, strict=True):
        sequences = [next(wholes) for _ in example.options]
        shared = min(_common_prefix(x, s) for s in sequences)
        # An option without a token of its own stands for stopping here.
        options = [tuple(s[shared:]) or (tokenizer.eos_id,) for s in sequences]
        context, cut = _keep_end(x[:shared], lengths.inputs)
        requests.append(
            RankRequest(
                context=context,
                options=tuple(y[: lengths.targets] for y in options),
                option_bytes=_byte_lengths(example.options),
                domain=domain,
                cut=cut,
                cut_options=sum(max(len(y) - lengths.targets, 0) for y in options),
            )
        )
    return requests


def _byte_lengths(options: Sequence[str]) -> tuple[int, ...]:
    return tuple(max(len(o.encode()), 1) for o in options)


def _keep_end(ids: Sequence[int], limit: int) -> tuple[tuple[int, ...], int]:
    cut = max(len(ids) - limit, 0)
    return tuple(ids[cut:]), cut


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    for place, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return place
    return min(len(a), len(b))
