"""Demo rows of the paraphrase cluster: the same facts in other words, or with one of them changed."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows import Generator
from flan.data.demo_rows.scenes import SLOTS, changed, scene, state
from flan.data.demo_rows.world import ANIMALS, COLOURS, PEOPLE, PLACES, THINGS, other

Rows = list[dict[str, Any]]

DEEDS = ("gave", "showed", "sold", "sent")
ASKED = (
    "Is the {colour} {thing} of {owner} in the {place}?",
    "Can I find the {colour} {thing} of {owner} in the {place}?",
)
TOLD = (
    "{owner} takes the {colour} {thing} to the {place} with the {animal}.",
    "With the {animal}, {owner} takes the {colour} {thing} to the {place}.",
)
TOLD_VALUES = {
    "owner": PEOPLE,
    "colour": COLOURS,
    "thing": THINGS,
    "place": PLACES,
    "animal": ANIMALS,
}


def mrpc(rng: random.Random, count: int) -> Rows:
    """glue/mrpc: two facts, told again in either order; label 0 changes the value of one."""
    rows = []
    for index in range(count):
        facts, slots = scene(rng), rng.sample(SLOTS, 2)
        label = rng.randrange(2)
        retold = facts if label else changed(rng, facts, rng.choice(slots))
        rows.append(
            {
                "sentence1": state(rng, facts, slots),
                "sentence2": state(rng, retold, rng.sample(slots, 2)),
                "label": label,
                "idx": index,
            }
        )
    return rows


def paws_wiki(rng: random.Random, count: int) -> Rows:
    """paws_wiki: tokenized; label 0 swaps giver and receiver, so that only word order tells."""
    rows = []
    for _ in range(count):
        giver, receiver = rng.sample(PEOPLE, 2)
        thing, place, deed = rng.choice(THINGS), rng.choice(PLACES), rng.choice(DEEDS)
        label = rng.randrange(2)
        pairs = [(giver, receiver), (giver, receiver) if label else (receiver, giver)]
        wordings = [
            [
                f"In the {place} , {a} {deed} the {thing} to {b} .",
                f"{a} {deed} the {thing} to {b} in the {place} .",
            ]
            for a, b in pairs
        ]
        rows.append(
            {
                "sentence1": rng.choice(wordings[0]),
                "sentence2": rng.choice(wordings[1]),
                "label": label,
            }
        )
    return rows


def qqp(rng: random.Random, count: int) -> Rows:
    """glue/qqp: questions about somebody's thing; label 0 asks about another colour, owner or place."""
    rows = []
    for index in range(count):
        facts = scene(rng)
        label = rng.randrange(2)
        asked = facts if label else changed(rng, facts, rng.choice(("colour", "owner", "place")))
        rows.append(
            {
                "question1": rng.choice(ASKED).format(**facts),
                "question2": rng.choice(ASKED).format(**asked),
                "label": label,
                "idx": index,
            }
        )
    return rows


def stsb(rng: random.Random, count: int) -> Rows:
    """glue/stsb: the score is the number of five facts in common, 0.2 less in another wording."""
    rows = []
    for index in range(count):
        first = {name: rng.choice(words) for name, words in TOLD_VALUES.items()}
        shared = rng.randrange(6)
        kept = rng.sample(list(first), shared)
        second = {
            name: value if name in kept else other(rng, TOLD_VALUES[name], value)
            for name, value in first.items()
        }
        wordings = rng.choice(TOLD), rng.choice(TOLD)
        reworded = wordings[0] != wordings[1]
        rows.append(
            {
                "sentence1": wordings[0].format(**first),
                "sentence2": wordings[1].format(**second),
                "label": shared - 0.2 if reworded and shared else float(shared),
                "idx": index,
            }
        )
    return rows


GENERATORS: dict[str, Generator] = {
    "glue/mrpc": mrpc,
    "paws_wiki/labeled_final_tokenized": paws_wiki,
    "glue/qqp": qqp,
    "glue/stsb": stsb,
}
