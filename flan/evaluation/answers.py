"""A checkpoint's answers to plain texts: all at once, or token by token as they are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from flan.evaluation.generation import GenerationShapes, generate
from flan.evaluation.model import EvaluationModel
from flan.evaluation.prompts import Format, Lengths, answer_text, generation_requests
from flan.evaluation.settings import CellSettings
from flan.models.decoding import admit, advance, empty_slots
from flan.models.sampling import Decoding
from flan.templates.template import Rendered


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model wrote.

    Attributes:
      text: the answer; in `baseline` form its first line.
      tokens: how many it wrote, without EOS.
      finished: whether it came to an end by itself.
      cut: tokens of the prompt that did not fit.
    """

    text: str
    tokens: int
    finished: bool
    cut: int


def answer_prompts(
    model: EvaluationModel,
    prompts: Sequence[str],
    *,
    form: Format = "instructions",
    input_length: int = 1024,
    max_new_tokens: int = 256,
    decoding: Decoding | None = None,
    batch_rows: int = 16,
) -> list[Answer]:
    """Answers to prompts, in their order.

    Args:
      model: the checkpoint.
      prompts: texts, none empty.
      form: see `flan.evaluation.prompts`.
      input_length: tokens read at most; what is cut is counted.
      max_new_tokens: tokens written at most.
      decoding: how tokens are chosen; greedily by default.
      batch_rows: prompts of full length decoded together; no answer depends on it.

    Raises:
      ValueError: an empty prompt, a number below 1, or more new tokens than the model's
        context leaves room for.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be 1 or more, got {max_new_tokens}")
    input_length = _readable(model, input_length, max_new_tokens)
    requests = generation_requests(
        [_plain(p) for p in prompts], model.vocabulary, form, Lengths(input_length, 2), model.prefix
    )
    longest = len(model.prefix) + input_length
    stops = model.newline_ids if form == "baseline" else ()
    with model.running():
        written = generate(
            *model.decoder,
            requests,
            eos_id=model.vocabulary.eos_id,
            stop_ids=stops,
            start_id=model.start_id,
            max_new_tokens=max_new_tokens,
            decoding=decoding,
            shapes=GenerationShapes.on_parts(longest, batch_rows, model.parts),
        )
    return [
        Answer(
            answer_text(model.vocabulary.decode(ids), form),
            len(ids),
            len(ids) < max_new_tokens or ids[-1] in stops,
            request.cut,
        )
        for ids, request in zip(written, requests, strict=True)
    ]


@dataclasses.dataclass
class Conversation:
    """Answers one prompt at a time and gives each piece of text as soon as it is there.

    Attributes:
      model: the checkpoint, on one device.
      form, input_length, max_new_tokens, decoding: as in `answer_prompts`.
      count: prompts answered; each draws anew.
      cut: tokens of the last prompt that did not fit.
    """

    model: EvaluationModel
    form: Format = "instructions"
    input_length: int = 1024
    max_new_tokens: int = 256
    decoding: Decoding = Decoding()  # noqa: RUF009 - frozen
    count: int = 0
    cut: int = 0

    def __post_init__(self) -> None:
        self.input_length = _readable(self.model, self.input_length, self.max_new_tokens)

    def stream(self, prompt: str) -> Iterator[str]:
        """Pieces of the answer, which together are its text."""
        lengths = Lengths(self.input_length, 2)
        (request,) = generation_requests(
            [_plain(prompt)], self.model.vocabulary, self.form, lengths, self.model.prefix
        )
        self.cut = request.cut
        self.count += 1
        ids: list[int] = []
        shown = ""
        for token in self._tokens(request.prompt):
            ids.append(token)
            text = answer_text(self.model.vocabulary.decode(ids), self.form)
            # Half a character decodes to a mark that the next token replaces; spaces at the
            # end may be cut off again.
            if text.startswith(shown) and not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
        text = answer_text(self.model.vocabulary.decode(ids), self.form)
        if text.startswith(shown):
            yield text[len(shown) :]

    def _tokens(self, prompt: tuple[int, ...]) -> Iterator[int]:
        """Token ids as they are written, without EOS."""
        eos = self.model.vocabulary.eos_id
        stops = (eos, *(self.model.newline_ids if self.form == "baseline" else ()))
        longest = len(self.model.prefix) + self.input_length
        length = GenerationShapes(longest).of(len(prompt))
        tokens = np.zeros((1, length), np.int32)
        tokens[0, : len(prompt)] = prompt
        most = self.max_new_tokens
        network = self.model.decoder
        with self.model.running():
            slots = empty_slots(*network, 1, length + most, most)
            slots = admit(
                *network,
                slots,
                np.zeros(1, np.int32),
                tokens,
                np.array([len(prompt)], np.int32),
                np.array([self.count], np.uint32),
                start_id=self.model.start_id,
            )
        for place in range(most):
            with self.model.running():
                slots = advance(*network, slots, jnp.int32(1), jnp.int32(0), self.decoding, stops)
            token = int(slots.written[0, place])
            if token == eos:
                return
            yield token
            if not slots.busy[0]:
                return


def _plain(text: str) -> Rendered:
    if not text.strip():
        raise ValueError("a prompt is empty; there is nothing to answer")
    return Rendered(text, "", ())


def _readable(model: EvaluationModel, input_length: int, max_new_tokens: int) -> int:
    """`input_length`, or what the model's context leaves of it."""
    settings = CellSettings(lengths=Lengths(input_length, max(max_new_tokens, 2)))
    context = model.network.config.context_length
    return settings.within(context, len(model.prefix)).lengths.inputs
