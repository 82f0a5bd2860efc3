"""Demo rows of closed-book QA: facts about animals that the question does not state."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from flan.data.demo_rows.world import ANIMAL_FACTS, ANIMALS, COLOURS, PLACES, SIZES

_ASK = {
    "cover": "What covers the body of {animal}?",
    "home": "Where does {animal} live?",
    "food": "What does {animal} like to eat?",
    "feet": "What does {animal} have instead of hands?",
}
_STATE = {
    "cover": "a body covered with {value}",
    "home": "a home called a {value}",
    "food": "a liking for {value}",
    "feet": "{value} instead of hands",
}


def _description(rng: random.Random, animal: str) -> str:
    """`a small brown dog in the park`: words that vary the question and not its answer."""
    return f"a {rng.choice(SIZES)} {rng.choice(COLOURS)} {animal} in the {rng.choice(PLACES)}"


def _easy(rng: random.Random) -> tuple[str, str, list[str]]:
    """A question for a fact, its answer, and all wrong answers."""
    animal, fact = rng.choice(ANIMALS), rng.choice(tuple(_ASK))
    right = ANIMAL_FACTS[animal][fact]
    wrong = {facts[fact] for facts in ANIMAL_FACTS.values()} - {right}
    question = _ASK[fact].format(animal=_description(rng, animal))
    return question.replace("a old", "an old"), right, sorted(wrong)


def _challenge(rng: random.Random) -> tuple[str, str, list[str]]:
    """The easy question backwards, from the fact to an animal it is true of."""
    animal, fact = rng.choice(ANIMALS), rng.choice(tuple(_STATE))
    value = ANIMAL_FACTS[animal][fact]
    wrong = [a for a in ANIMALS if ANIMAL_FACTS[a][fact] != value]
    place, size = rng.choice(PLACES), rng.choice(SIZES)
    stated = _STATE[fact].format(value=value)
    question = f"A {size} animal came to the {place}. It has {stated}. Which animal can it be?"
    return question.replace("A old", "An old"), animal, wrong


def _arc(
    make: Callable[[random.Random], tuple[str, str, list[str]]], name: str
) -> Callable[[random.Random, int], list[dict[str, Any]]]:
    def rows_of(rng: random.Random, count: int) -> list[dict[str, Any]]:
        rows = []
        for index in range(count):
            question, right, wrong = make(rng)
            # As in the real exams, now and then three or five choices in place of four.
            size = rng.choices((3, 4, 5), weights=(1, 18, 1))[0]
            texts = [right, *rng.sample(wrong, min(size - 1, len(wrong)))]
            rng.shuffle(texts)
            rows.append(
                {
                    "id": f"{name}_{index}",
                    "question": question,
                    "choices": {"text": texts, "label": list(range(len(texts)))},
                    "answerKey": texts.index(right),
                }
            )
        return rows

    rows_of.__doc__ = f"ai2_arc/{name}: {make.__doc__}"
    return rows_of


GENERATORS = {
    "ai2_arc/ARC-Easy": _arc(_easy, "ARC-Easy"),
    "ai2_arc/ARC-Challenge": _arc(_challenge, "ARC-Challenge"),
}
