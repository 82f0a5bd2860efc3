import dataclasses

import numpy as np
import pytest

from flan.evaluation import generation
from flan.evaluation.generation import GenerationShapes, generate
from flan.evaluation.prompts import GenerationRequest
from flan.models import decoding
from flan.models.sampling import Decoding

SHAPES = GenerationShapes(prompt_length=32, batch_rows=3, shortest=16)
EOS = 1


def random_prompts(seed, count):
    rng = np.random.default_rng(seed)
    return [
        GenerationRequest(tuple(int(i) for i in rng.integers(3, 90, rng.integers(1, 30))))
        for _ in range(count)
    ]


def naive(full_logits, model, params, prompt, steps, start=(0,)):
    """Greedy without a cache: the whole sequence again for each token."""
    ids = list(prompt)
    for _ in range(steps):
        token = int(np.argmax(full_logits(model, params, [*start, *ids])[-1]))
        if token == EOS:
            break
        ids.append(token)
    return ids[len(prompt) :]


def test_answers_equal_decoding_without_a_cache(tiny_model, full_logits):
    prompts = random_prompts(0, 7)
    answers = generate(*tiny_model, prompts, eos_id=EOS, max_new_tokens=6, shapes=SHAPES)
    assert answers == [naive(full_logits, *tiny_model, p.prompt, 6) for p in prompts]


def test_a_model_without_a_start_token_begins_with_the_prompt(tiny_model, full_logits):
    prompts = [GenerationRequest((7,)), *random_prompts(3, 5)]
    answers = generate(
        *tiny_model, prompts, eos_id=EOS, start_id=None, max_new_tokens=6, shapes=SHAPES
    )
    assert answers == [naive(full_logits, *tiny_model, p.prompt, 6, ()) for p in prompts]


def test_answers_do_not_move_with_the_batch(tiny_model):
    prompts = random_prompts(1, 10)
    expected = generate(*tiny_model, prompts, eos_id=EOS, max_new_tokens=5, shapes=SHAPES)
    other = GenerationShapes(prompt_length=48, batch_rows=4, shortest=48)
    found = generate(*tiny_model, prompts[::-1], eos_id=EOS, max_new_tokens=5, shapes=other)
    assert found[::-1] == expected


def test_answers_end_before_eos(tiny_model):
    prompts = random_prompts(2, 6)
    one_length = GenerationShapes(prompt_length=32, batch_rows=3, shortest=32)

    def answers_with(eos_id):
        return generate(*tiny_model, prompts, eos_id=eos_id, max_new_tokens=6, shapes=one_length)

    free = answers_with(10**6)
    # What some row writes third is declared the end.
    end = free[0][2]
    for answer, whole in zip(answers_with(end), free, strict=True):
        assert answer == (whole[: whole.index(end)] if end in whole else whole)


def test_bad_prompts_are_refused(tiny_model):
    with pytest.raises(ValueError, match="empty"):
        generate(*tiny_model, [GenerationRequest(())], eos_id=EOS)
    with pytest.raises(ValueError, match="33 tokens does not fit into 32"):
        generate(*tiny_model, [GenerationRequest((5,) * 33)], eos_id=EOS, shapes=SHAPES)
    with pytest.raises(ValueError, match="positive"):
        GenerationShapes(batch_rows=0)


def test_padded_lengths():
    assert [SHAPES.of(n) for n in (1, 8, 9, 16, 17, 32)] == [16, 16, 16, 16, 32, 32]


def test_many_short_prompts_are_read_at_a_length_of_their_own(tiny_model, monkeypatch):
    assert SHAPES.half_way(128, [90] * 511 + [97] * 99) == 128
    assert SHAPES.half_way(128, [90] * 512 + [97] * 99) == 96
    assert SHAPES.half_way(1016, [700] * 1000) == 768
    assert SHAPES.half_way(10, [9] * 10**6) == 10

    prompts = random_prompts(8, 9)
    shapes = GenerationShapes(prompt_length=64, batch_rows=4, shortest=64, admitted=2)
    how = {"eos_id": EOS, "max_new_tokens": 4, "shapes": shapes}
    expected = generate(*tiny_model, prompts, **how)
    read = set()

    def seen(model, params, slots, places, tokens, *rest, **more):
        read.add(tokens.shape)
        return decoding.admit(model, params, slots, places, tokens, *rest, **more)

    monkeypatch.setattr(generation, "_WORTH_COMPILING", 1)
    monkeypatch.setattr(generation, "admit", seen)
    long = GenerationRequest(tuple(range(3, 60)))
    assert generate(*tiny_model, [*prompts, long], **how)[:-1] == expected
    assert read == {(2, 48), (2, 64)}


@pytest.mark.parametrize("multiple", [1, 3])
def test_short_prompts_come_in_larger_numbers(multiple):
    shapes = GenerationShapes(prompt_length=1024, batch_rows=12, multiple=multiple)
    slots = [shapes.slots(length, 256, 10**4) for length in (1024, 512, 256, 64)]
    assert slots == [12, 12, 24, 48]
    assert shapes.slots(64, 256, 5) == (8 if multiple == 1 else 9)
    assert shapes.smaller(48) == 12
    assert shapes.smaller(24) is None


def test_the_last_answers_go_on_in_a_smaller_batch(tiny_model, monkeypatch):
    prompts = random_prompts(7, 40)
    shapes = GenerationShapes(prompt_length=32, batch_rows=32, shortest=32)
    free = generate(*tiny_model, prompts, eos_id=10**6, max_new_tokens=9, shapes=SHAPES)
    # Most rows end after a token or two.
    stops = tuple({answer[1] for answer in free[:36]})
    kept = []

    def seen(slots, places, busy):
        kept.append((len(slots.token), len(places), int(busy)))
        return decoding.only(slots, places, busy)

    monkeypatch.setattr(generation, "only", seen)
    how = {"eos_id": EOS, "stop_ids": stops, "max_new_tokens": 9}
    found = generate(*tiny_model, prompts, **how, shapes=shapes)
    assert found == generate(*tiny_model, prompts, **how, shapes=SHAPES)
    ((before, after, busy),) = kept
    assert (before, after) == (32, 8)
    assert 0 < busy <= 8


def test_stop_tokens_end_an_answer_and_stay(tiny_model):
    prompts = random_prompts(2, 6)
    shapes = GenerationShapes(prompt_length=32, batch_rows=3, shortest=32)
    free = generate(*tiny_model, prompts, eos_id=10**6, max_new_tokens=6, shapes=shapes)
    stops = (free[0][2], free[1][1])
    found = generate(
        *tiny_model, prompts, eos_id=10**6, stop_ids=stops, max_new_tokens=6, shapes=shapes
    )
    for answer, whole in zip(found, free, strict=True):
        ends = [place for place, token in enumerate(whole) if token in stops]
        assert answer == whole[: ends[0] + 1 if ends else 6]


@pytest.mark.parametrize(
    "decoding", [Decoding(temperature=1.0, top_p=0.9, seed=4), Decoding(beams=2)]
)
def test_what_is_drawn_or_searched_does_not_move_with_the_batch(tiny_model, decoding):
    prompts = random_prompts(5, 7)
    shapes = GenerationShapes(prompt_length=32, batch_rows=4, shortest=32)

    def answers(order, **changes):
        found = generate(
            *tiny_model,
            [prompts[i] for i in order],
            eos_id=EOS,
            max_new_tokens=5,
            decoding=decoding,
            ids=order,
            shapes=dataclasses.replace(shapes, **changes),
        )
        return dict(zip(order, found, strict=True))

    expected = answers([0, 1, 2, 3, 4, 5, 6])
    assert answers([6, 2, 4], batch_rows=2, admitted=1).items() <= expected.items()
    other = dataclasses.replace(decoding, seed=5)
    if not decoding.beams > 1:
        again = generate(
            *tiny_model, prompts, eos_id=EOS, max_new_tokens=5, decoding=other, shapes=shapes
        )
        assert again != list(expected.values())
