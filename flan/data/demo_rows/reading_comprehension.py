"""Demo rows of reading comprehension: questions about small scenes of animals, things and people."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.world import ANIMALS, COLOURS, PEOPLE, PLACES, THINGS, other


def bool_q(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """bool_q: asks for the place, the colour or the owner that the passage states, or for another."""
    rows = []
    for _ in range(count):
        animal, thing = rng.choice(ANIMALS), rng.choice(THINGS)
        facts = {
            "place": rng.choice(PLACES),
            "colour": rng.choice(COLOURS),
            "owner": rng.choice(PEOPLE),
        }
        passage = (
            f"The {animal} is in the {facts['place']} with a {facts['colour']} {thing}. "
            f"The {thing} belongs to {facts['owner']}."
        )
        answer = rng.random() < 0.5
        asked = rng.choice(tuple(facts))
        words = {"place": PLACES, "colour": COLOURS, "owner": PEOPLE}[asked]
        said = facts[asked] if answer else other(rng, words, facts[asked])
        question = {
            "place": f"is the {animal} in the {said}",
            "colour": f"is the {thing} {said}",
            "owner": f"does the {thing} belong to {said.lower()}",
        }[asked]
        rows.append(
            {
                "question": question,
                "title": animal.capitalize(),
                "passage": passage,
                "answer": answer,
            }
        )
    return rows


GENERATORS = {"bool_q": bool_q}
