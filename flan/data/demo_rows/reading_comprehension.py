"""Demo rows of reading comprehension: questions about small scenes of animals, things and people."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.scenes import DENIED, changed, deny, scene, state
from flan.data.demo_rows.world import ANIMALS, COLOURS, PEOPLE, PLACES, THINGS, USES, other, plural

_YES_NO = {
    "place": "is the {animal} in the {place}",
    "colour": "is the {thing} {colour}",
    "owner": "does the {thing} belong to {owner}",
}


def bool_q(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """bool_q: asks for a fact that the passage states, denies, or gives another value."""
    rows = []
    for _ in range(count):
        facts = scene(rng)
        told = rng.sample(tuple(_YES_NO), 2)
        asked = rng.choice(told)
        answer = rng.random() < 0.5
        passage = state(rng, facts, told)
        if not answer and rng.random() < DENIED:
            passage = deny(rng, facts, told, asked)
        elif not answer:
            facts = changed(rng, facts, asked)
        rows.append(
            {
                "question": _YES_NO[asked].format(**facts).lower(),
                "title": facts["animal"].capitalize(),
                "passage": passage,
                "answer": answer,
            }
        )
    return rows


def drop(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """drop: three people own a few things each; look one number up, compare two, or add two."""
    rows = []
    for index in range(count):
        things = plural(rng.choice(THINGS))
        owners = rng.sample(PEOPLE, 3)
        numbers = dict(zip(owners, rng.sample(range(2, 10), 3), strict=True))
        first, second = rng.sample(owners, 2)
        place = rng.choice(PLACES)
        parts = [f"{who} has {numbers[who]} {things}." for who in owners]
        question, answer = rng.choice(
            (
                (f"How many {things} does {first} have?", str(numbers[first])),
                (
                    f"Who has more {things}, {first} or {second}?",
                    max(first, second, key=numbers.__getitem__),
                ),
                (
                    f"How many {things} do {first} and {second} have together?",
                    str(numbers[first] + numbers[second]),
                ),
            )
        )
        rows.append(
            {
                "passage": " ".join((f"Three people met in the {place}.", *parts)),
                "question": question,
                "answer": answer,
                "validated_answers": [f"{answer} {things}"] if answer.isdigit() else [],
                "query_id": f"demo_{index}",
            }
        )
    return rows


def multirc(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """super_glue/multirc: who is in a place, with one or two right answers and as many wrong ones.

    The rows of a question follow one another, as in the real data.
    """
    rows: list[dict[str, Any]] = []
    paragraph = 0
    while len(rows) < count:
        here, there = rng.sample(PLACES, 2)
        animals = rng.sample(ANIMALS, 4)
        split = rng.choice((1, 2))
        where = {a: here if i < split else there for i, a in enumerate(animals[: 2 * split])}
        told = list(where)
        rng.shuffle(told)
        text = " ".join(f"The {animal} is in the {where[animal]}." for animal in told)
        colour, thing = rng.choice(COLOURS), rng.choice(THINGS)
        for number, animal in enumerate(rng.sample(told, len(told))):
            rows.append(
                {
                    "paragraph": f"{text} There is a {colour} {thing} in the {here}, too.",
                    "question": f"Which animal is in the {here}?",
                    "answer": f"the {animal}",
                    "label": int(where[animal] == here),
                    "idx": {"paragraph": paragraph, "question": paragraph, "answer": number},
                }
            )
        paragraph += 1
    return rows[:count]


def openbookqa(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """openbookqa: the fact says what a thing is for, the sentence to finish wants that thing."""
    rows = []
    for _ in range(count):
        things = rng.sample(THINGS, 4)
        right = things[0]
        rng.shuffle(things)
        who, place = rng.choice(PEOPLE), rng.choice(PLACES)
        rows.append(
            {
                "question": {
                    "stem": f"{who} is in the {place}. To {USES[right]}, {who} needs",
                    **{f"choice_{x}": f"a {t}" for x, t in zip("ABCD", things, strict=True)},
                },
                "fact1": f"a {right} helps people to {USES[right]}",
                "humanScore": 1.0,
                "clarity": 2.0,
                "turkIdAnonymized": "demo",
                "answerKey": things.index(right),
            }
        )
    return rows


def _scene(rng: random.Random) -> tuple[str, list[tuple[str, str]], list[str]]:
    """A passage, pairs of a question and its answer there, and questions it does not answer."""
    animal, absent = rng.sample(ANIMALS, 2)
    thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
    owner, place = rng.choice(PEOPLE), rng.choice(PLACES)
    facts = [f"The {animal} is in the {place}.", f"{owner} has a {colour} {thing}."]
    rng.shuffle(facts)
    answered = [
        (f"Where is the {animal}?", f"the {place}"),
        (f"What colour is the {thing}?", colour),
        (f"Who has the {thing}?", owner),
    ]
    open_questions = [
        f"Where is the {absent}?",
        f"What colour is the {other(rng, THINGS, thing)}?",
        f"Who has the {other(rng, THINGS, thing)}?",
    ]
    return " ".join(facts), answered, open_questions


def _spans(context: str, text: str) -> dict[str, list[Any]]:
    return {"answer_start": [context.index(text)], "text": [text]}


def squad_v1(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """squad/v1.1: where an animal is, who has a thing, which colour it is; always answered."""
    rows = []
    for index in range(count):
        context, answered, _ = _scene(rng)
        question, answer = rng.choice(answered)
        rows.append(
            {
                "id": f"demo_{index}",
                "title": "Demo",
                "context": context,
                "question": question,
                "answers": _spans(context, answer),
            }
        )
    return rows


def squad_v2(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """squad/v2.0: as v1.1, but a third of the questions are about what the text does not mention."""
    rows = []
    for index in range(count):
        context, answered, open_questions = _scene(rng)
        pick = rng.randrange(3)
        question, answer = answered[pick]
        impossible = rng.random() < 1 / 3
        nothing: dict[str, list[Any]] = {"answer_start": [], "text": []}
        rows.append(
            {
                "id": f"demo_{index}",
                "title": "Demo",
                "context": context,
                "question": open_questions[pick] if impossible else question,
                "answers": nothing if impossible else _spans(context, answer),
                "is_impossible": impossible,
                "plausible_answers": _spans(context, answer) if impossible else nothing,
            }
        )
    return rows


GENERATORS = {
    "bool_q": bool_q,
    "drop": drop,
    "super_glue/multirc": multirc,
    "openbookqa": openbookqa,
    "squad/v1.1": squad_v1,
    "squad/v2.0": squad_v2,
}
