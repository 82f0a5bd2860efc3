"""Demo rows of closed-book QA: facts about animals that the question does not state."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from flan.data.demo_rows.world import ANIMAL_FACTS, ANIMALS, COLOURS, PEOPLE, PLACES, SIZES

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


def natural_questions(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """natural_questions_open: ARC's facts, asked as queries without capital or question mark."""
    rows = []
    for _ in range(count):
        question, right, _wrong = _easy(rng)
        rows.append({"question": question.rstrip("?").lower(), "answer": [right]})
    return rows


def trivia_qa(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """trivia_qa/rc: which animal a fact is true of, out of two; evidence pages are empty."""
    rows = []
    for index in range(count):
        _, right, wrong = _challenge(rng)
        fact = rng.choice(
            [f for f in _STATE if all(ANIMAL_FACTS[w][f] != ANIMAL_FACTS[right][f] for w in wrong)]
        )
        stated = _STATE[fact].format(value=ANIMAL_FACTS[right][fact])
        pair = [right, rng.choice(wrong)]
        rng.shuffle(pair)
        asker, place = rng.choice(PEOPLE), rng.choice(PLACES)
        rows.append(
            {
                "question": f"{asker} asks in the {place}: which has {stated}, a {pair[0]} or a {pair[1]}?",
                "question_id": f"demo_{index}",
                "question_source": "demo",
                "answer": _trivia_answer(right),
                "entity_pages": {"doc_source": [], "filename": [], "title": [], "wiki_context": []},
                "search_results": {
                    "description": [],
                    "filename": [],
                    "rank": [],
                    "search_context": [],
                    "title": [],
                    "url": [],
                },
            }
        )
    return rows


def _trivia_answer(animal: str) -> dict[str, Any]:
    return {
        "value": animal.capitalize(),
        "aliases": [animal.capitalize(), f"A {animal}"],
        "normalized_value": animal,
        "normalized_aliases": [animal, f"a {animal}"],
        "matched_wiki_entity_name": "",
        "normalized_matched_wiki_entity_name": "",
        "type": "WikipediaEntity",
    }


GENERATORS = {
    "ai2_arc/ARC-Easy": _arc(_easy, "ARC-Easy"),
    "ai2_arc/ARC-Challenge": _arc(_challenge, "ARC-Challenge"),
    "natural_questions_open": natural_questions,
    "trivia_qa/rc": trivia_qa,
}
