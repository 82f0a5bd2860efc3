"""Small scenes for the demo rows that compare facts: inference and paraphrase.

A scene has an animal and a thing, and four facts about them, its slots. A text states
some of them. Whether a statement follows can then be read off: its slot is stated with
the same value, denied, stated with another value, or not stated at all. A contradiction
is mostly a denial, as in real inference data, and a model of a million parameters can
learn what a "not" does where comparing two values is beyond it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from flan.data.demo_rows.world import (
    ACTIONS,
    ANIMALS,
    COLOURS,
    PEOPLE,
    PLACES,
    THINGS,
    other,
)

Scene = dict[str, str]

VALUES = {"place": PLACES, "action": ACTIONS, "colour": COLOURS, "owner": PEOPLE}
SLOTS = tuple(VALUES)

# Two wordings of each fact, so that a comparison cannot go by the whole sentence.
STATEMENTS = {
    "place": ("The {animal} is in the {place}.", "You can see the {animal} in the {place}."),
    "action": ("The {animal} {action}.", "Look how the {animal} {action}."),
    "colour": ("The {thing} is {colour}.", "There is a {colour} {thing}."),
    "owner": ("The {thing} belongs to {owner}.", "{owner} has the {thing}."),
}
DENIALS = {
    "place": ("The {animal} is not in the {place}.", "You do not see the {animal} in the {place}."),
    "action": (
        "It is not true that the {animal} {action}.",
        "No, the {animal} is not one that {action}.",
    ),
    "colour": ("The {thing} is not {colour}.", "There is not a {colour} {thing}."),
    "owner": ("The {thing} does not belong to {owner}.", "{owner} does not have the {thing}."),
}
DENIED = 0.8  # of the contradictions; the others state another value
QUESTIONS = {
    "place": ("Where is the {animal}?", "In which place is the {animal}?"),
    "action": ("What does the {animal} do?", "What is the {animal} doing?"),
    "colour": ("What colour is the {thing}?", "Which colour does the {thing} have?"),
    "owner": ("Who has the {thing}?", "Whose is the {thing}?"),
}


def scene(rng: random.Random) -> Scene:
    """A scene with every slot filled at random."""
    values = {slot: rng.choice(words) for slot, words in VALUES.items()}
    return {"animal": rng.choice(ANIMALS), "thing": rng.choice(THINGS), **values}


def changed(rng: random.Random, facts: Scene, slot: str) -> Scene:
    """The scene with another value in one slot."""
    return {**facts, slot: other(rng, VALUES[slot], facts[slot])}


def state(rng: random.Random, facts: Scene, slots: Sequence[str]) -> str:
    """A sentence for each slot, in the order given, in one wording or the other."""
    return " ".join(rng.choice(STATEMENTS[slot]).format(**facts) for slot in slots)


def deny(rng: random.Random, facts: Scene, slots: Sequence[str], denied: str) -> str:
    """As `state`, with one of the slots denied."""
    return " ".join(
        rng.choice((DENIALS if slot == denied else STATEMENTS)[slot]).format(**facts)
        for slot in slots
    )


def infer(rng: random.Random, stated: int, relation: str) -> tuple[str, str]:
    """A premise that states `stated` slots, and a hypothesis in the given relation to it.

    Args:
      rng: source of all choices.
      stated: how many slots the premise states, at most three.
      relation: `entailment`, `contradiction` or `neutral`.
    """
    facts = scene(rng)
    *told, untold = rng.sample(SLOTS, stated + 1)
    premise = state(rng, facts, told)
    slot = untold if relation == "neutral" else rng.choice(told)
    if relation == "contradiction":
        if rng.random() < DENIED:
            if rng.random() < 0.5:
                return premise, deny(rng, facts, [slot], slot)
            return deny(rng, facts, told, slot), state(rng, facts, [slot])
        facts = changed(rng, facts, slot)
    return premise, state(rng, facts, [slot])
