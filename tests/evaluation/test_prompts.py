import pytest

from flan.catalog.dataset import choice, free_form
from flan.evaluation.prompts import (
    Lengths,
    answer_text,
    generation_requests,
    newline_ids,
    rank_requests,
)
from flan.templates import load_templates, render
from flan.templates.template import Rendered, Template, Text

LIKES = Template("t0", Text.parse("{text} Good?\n{options}"), Text.parse("{answer}"))


class WordVocabulary:
    """Tokens are words with the space before them; "New York" after a space is one token."""

    eos_id = 1
    bos_id = 0

    def __init__(self):
        self.ids = {}

    def encode(self, text):
        pieces = text.replace(" New York", " New_York").split(" ")
        return [self.ids.setdefault(p, len(self.ids) + 2) for p in pieces if p]

    def encode_batch(self, texts):
        return [self.encode(t) for t in texts]


def test_instructions_are_the_training_format(characters):
    fields = choice(("yes", "no"), 1, text="ab")
    (request,) = rank_requests([render(LIKES, fields)], characters)
    assert characters.decode(request.context) == "ab Good?\nOPTIONS:\n- yes\n- no"
    assert request.context[-1] == characters.eos_id
    assert [o[-1] for o in request.options] == [characters.eos_id] * 2
    assert [characters.decode(o) for o in request.options] == ["yes", "no"]
    assert request.option_bytes == (3, 2)
    assert (request.cut, request.cut_options) == (0, 0)


def test_instructions_keep_the_head_and_their_eos(characters):
    fields = choice(("0123456789", "x"), 0, text="abcdefghij" * 3)
    lengths = Lengths(inputs=8, targets=5)
    (request,) = rank_requests([render(LIKES, fields)], characters, lengths=lengths)
    whole = characters.encode(render(LIKES, fields).input)
    assert request.context == (*whole[:7], characters.eos_id)
    assert request.cut == len(whole) - 7
    assert characters.decode(request.options[0]) == "0123"
    assert len(request.options[0]) == 5
    assert request.cut_options == 6
    (prompt,) = generation_requests([render(LIKES, fields)], characters, lengths=lengths)
    assert prompt.prompt == request.context
    assert prompt.cut == request.cut


def test_baseline_continues_the_prompt(characters):
    plain = load_templates("rte").baseline
    template = Template("baseline", plain.input, Text.parse("{answer}"), options=plain.options)
    fields = choice(("yes", "no"), 0, premise="It rains.", hypothesis="It is wet.")
    rendered = [render(template, fields)]
    assert rendered[0].options == ("true", "false")
    (request,) = rank_requests(rendered, characters, "baseline")
    assert characters.decode(request.context).endswith("Answer:")
    assert [characters.decode(o) for o in request.options] == [" true", " false"]
    assert characters.eos_id not in (*request.context, *request.options[0])


def test_baseline_keeps_the_end_of_a_long_prompt(characters):
    example = [render(LIKES, choice(("yes", "no"), 0, text="abcdefghij" * 3))]
    (request,) = rank_requests(example, characters, "baseline", Lengths(10, 3))
    assert characters.decode(request.context) == "- yes\n- no"
    assert [characters.decode(o) for o in request.options] == [" ye", " no"]
    assert request.cut == len(example[0].input) - 10
    assert request.cut_options == 1
    (prompt,) = generation_requests(example, characters, "baseline", Lengths(10, 3))
    assert prompt.prompt == request.context


def test_baseline_never_scores_a_sequence_that_the_tokenizer_would_not_make():
    vocabulary = WordVocabulary()
    template = Template("b", Text.parse("{text}"), Text.parse("{answer}"))
    example = [render(template, choice(("York is big", "Delhi"), 0, text="I say New"))]
    (request,) = rank_requests(example, vocabulary, "baseline")
    for ids, option in zip(request.options, ("York is big", "Delhi"), strict=True):
        assert (*request.context, *ids) == tuple(vocabulary.encode(f"I say New {option}"))
    assert request.context == tuple(vocabulary.encode("I say"))


def test_an_option_without_tokens_is_scored_as_stopping():
    vocabulary = WordVocabulary()
    example = Rendered("I say", "more", options=("", "more"), label=1)
    (request,) = rank_requests([example], vocabulary, "baseline")
    assert request.options[0] == (vocabulary.eos_id,)
    assert request.option_bytes == (1, 4)


def test_an_example_without_options_is_refused(characters):
    template = Template("t0", Text.parse("{text}"), Text.parse("{answer}"))
    with pytest.raises(ValueError, match="has no options to rank"):
        rank_requests([render(template, free_form("x", text="y"))], characters)


def test_answers():
    assert answer_text(" two\nlines ", "instructions") == "two\nlines"
    assert answer_text(" one line\nQuestion: ...", "baseline") == "one line"


def test_a_baseline_answer_stops_at_a_newline(characters, checkpoint):
    from flan.data.vocabulary import load_vocabulary

    pieces = load_vocabulary(checkpoint[0] / "vocabulary")
    for vocabulary in (characters, pieces):
        ids = newline_ids(vocabulary, vocabulary.vocab_size)
        assert {vocabulary.decode([i]) for i in ids} == {"\n"}

    class Joined(type(characters)):
        """Its newlines are parts of longer tokens too."""

        def decode(self, ids):
            return super().decode(ids).replace("b", "b.\n")

    ids = newline_ids(Joined(), characters.vocab_size)
    assert [characters.decode([i]) for i in ids] == ["\n", "b"]


def test_lengths_leave_room_for_eos():
    with pytest.raises(ValueError, match="2 or more"):
        Lengths(1, 256)


def test_options_are_scored_without_their_input_too(characters):
    rendered = [render(LIKES, choice(("yes", "no"), 1, text="ab"))]
    assert rank_requests(rendered, characters)[0].domain == (characters.eos_id,)
    assert rank_requests(rendered, characters, "baseline")[0].domain == ()
    (request,) = rank_requests(rendered, characters, "baseline", reads_start=False)
    assert request.domain == (characters.eos_id,)
