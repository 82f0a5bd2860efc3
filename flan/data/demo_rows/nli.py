"""Demo rows of the NLI cluster: a hypothesis repeats a fact of the premise, changes it, or adds one.

One rule for all but two datasets: the hypothesis speaks of one fact of a scene; it
follows when the premise states that fact with the same value, contradicts it when the
value differs, and is neutral when the premise does not state the fact at all.
"""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows import Generator
from flan.data.demo_rows.scenes import QUESTIONS, SLOTS, infer, scene, state
from flan.data.demo_rows.world import PEOPLE

Rows = list[dict[str, Any]]

ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"
WOMEN, MEN = PEOPLE[::2], PEOPLE[1::2]
GESTURES = ("waved to", "wrote to", "called", "thanked", "met", "helped")
MOODS = ("happy", "sad", "late", "tired", "ready", "hungry")


def _anli(name: str, stated: int, aside: str) -> Generator:
    """anli/r1 to r3: each round states more, the last with a sentence beside the point."""

    def generate(rng: random.Random, count: int) -> Rows:
        relations = (ENTAILMENT, NEUTRAL, CONTRADICTION)
        rows = []
        for index in range(count):
            label = rng.randrange(3)
            context, hypothesis = infer(rng, stated, relations[label])
            rows.append(
                {
                    "uid": f"{name}-demo-{index}",
                    "context": aside + context,
                    "hypothesis": hypothesis,
                    "label": label,
                }
            )
        return rows

    return generate


def cb(rng: random.Random, count: int) -> Rows:
    """super_glue/cb: a talk of two people, tokenized in part; the hypothesis is a mere clause."""
    relations = (ENTAILMENT, CONTRADICTION, NEUTRAL)
    rows = []
    for index in range(count):
        label = rng.randrange(3)
        told, hypothesis = infer(rng, 2, relations[label])
        rows.append(
            {
                "premise": f"A: What 's new ? B: {told}",
                "hypothesis": _clause(hypothesis),
                "idx": index,
                "label": label,
            }
        )
    return rows


def _clause(sentence: str) -> str:
    """The sentence as it stands after "that": no period, and a capital for names only."""
    first = sentence.split()[0]
    start = first if first in PEOPLE else first.lower()
    return start + sentence.removeprefix(first).removesuffix(".")


def mnli(rng: random.Random, count: int) -> Rows:
    """glue/mnli: two facts, and a third, a repeated or a changed one."""
    return [{**row, "idx": index} for index, row in enumerate(snli(rng, count))]


def qnli(rng: random.Random, count: int) -> Rows:
    """glue/qnli: the sentence answers a question on a fact that it states, and no other."""
    rows = []
    for index in range(count):
        facts = scene(rng)
        first, second, untold = rng.sample(SLOTS, 3)
        label = rng.randrange(2)
        asked = untold if label else rng.choice((first, second))
        rows.append(
            {
                "question": rng.choice(QUESTIONS[asked]).format(**facts),
                "sentence": state(rng, facts, (first, second)),
                "label": label,
                "idx": index,
            }
        )
    return rows


def rte(rng: random.Random, count: int) -> Rows:
    """super_glue/rte: what does not follow is either changed or not stated."""
    rows = []
    for index in range(count):
        label = rng.randrange(2)
        relation = rng.choice((NEUTRAL, CONTRADICTION)) if label else ENTAILMENT
        premise, hypothesis = infer(rng, 2, relation)
        rows.append({"premise": premise, "hypothesis": hypothesis, "label": label, "idx": index})
    return rows


def snli(rng: random.Random, count: int) -> Rows:
    """snli: as MNLI, without a row number."""
    relations = (ENTAILMENT, NEUTRAL, CONTRADICTION)
    rows = []
    for _ in range(count):
        label = rng.randrange(3)
        premise, hypothesis = infer(rng, 2, relations[label])
        rows.append({"premise": premise, "hypothesis": hypothesis, "label": label})
    return rows


def wnli(rng: random.Random, count: int) -> Rows:
    """glue/wnli: a woman and a man; "she" and "he" tell which of them is meant."""
    rows = []
    for index in range(count):
        people = {"she": rng.choice(WOMEN), "he": rng.choice(MEN)}
        first, second = rng.sample(list(people.values()), 2)
        pronoun = rng.choice(list(people))
        label = rng.randrange(2)
        mood = rng.choice(MOODS)
        meant = people[pronoun]
        named = meant if label else ({first, second} - {meant}).pop()
        rows.append(
            {
                "sentence1": f"{first} {rng.choice(GESTURES)} {second} because {pronoun} was {mood}.",
                "sentence2": f"{named} was {mood}.",
                "label": label,
                "idx": index,
            }
        )
    return rows


GENERATORS: dict[str, Generator] = {
    "anli/r1": _anli("r1", 2, ""),
    "anli/r2": _anli("r2", 3, ""),
    "anli/r3": _anli("r3", 3, "This was seen on a sunny day. "),
    "super_glue/cb": cb,
    "glue/mnli": mnli,
    "glue/qnli": qnli,
    "super_glue/rte": rte,
    "snli": snli,
    "glue/wnli": wnli,
}
