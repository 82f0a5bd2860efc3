"""Demo rows of reading comprehension with commonsense: little stories that leave a link unsaid."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.world import ANIMALS, COLOURS, EVENTS, PEOPLE, PLACES, THINGS


def cosmos_qa(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """cosmos_qa: a story tells a cause (or an effect) out of EVENTS; the question wants the other.

    Tokens are apart as in the real rows (`hungry .`).
    """
    rows = []
    for index in range(count):
        who = rng.choice(PEOPLE)
        happened, *others = rng.sample(EVENTS, 4)
        setting = f"{who} was in the {rng.choice(PLACES)} with a {rng.choice(COLOURS)} {rng.choice(THINGS)} ."
        forward = rng.random() < 0.5
        told, sought = (0, 1) if forward else (1, 0)
        answers = [event[sought] for event in (happened, *others)]
        rng.shuffle(answers)
        rows.append(
            {
                "id": f"demo_{index}",
                "context": _apart(f"{setting} {happened[told]}", who),
                "question": "What happened next ?" if forward else "What may be the reason ?",
                **{f"answer{i}": _apart(answer, who) for i, answer in enumerate(answers)},
                "label": answers.index(happened[sought]),
            }
        )
    return rows


def _apart(text: str, who: str) -> str:
    return text.format(who=who).replace(".", " .").replace("  .", " .")


def record(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """super_glue/record: the gap stands for the person whom the article puts in a place."""
    rows = []
    for index in range(count):
        people = rng.sample(PEOPLE, 4)
        places = rng.sample(PLACES, 4)
        animal = rng.choice(ANIMALS)
        facts = [f"{who} is in the {place}." for who, place in zip(people, places, strict=True)]
        right = rng.randrange(4)
        rows.append(
            {
                "passage": f"{' '.join(facts[:2])}\n@highlight\n{facts[2]}\n@highlight\n{facts[3]}",
                "query": f"A {animal} came to the {places[right]} and saw @placeholder there.",
                "entities": sorted(people),
                "answers": [people[right]],
                "idx": {"passage": index, "query": index},
            }
        )
    return rows


GENERATORS = {"cosmos_qa": cosmos_qa, "super_glue/record": record}
