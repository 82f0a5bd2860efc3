"""Demo rows of the commonsense cluster: what leads to what, and what a thing is good for."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.world import ANIMALS, COLOURS, EVENTS, PEOPLE, PLACES, THINGS, USES


def copa(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """super_glue/copa: cause and effect out of EVENTS; the wrong choice belongs to another event."""
    rows = []
    for index in range(count):
        right, wrong = rng.sample(EVENTS, 2)
        asked = rng.choice(("cause", "effect"))
        given, sought = (1, 0) if asked == "cause" else (0, 1)
        who = rng.choice(PEOPLE)
        label = rng.randrange(2)
        choices = [right[sought], wrong[sought]]
        if label == 1:
            choices.reverse()
        rows.append(
            {
                "premise": right[given].format(who=who),
                "question": asked,
                "choice1": choices[0].format(who=who),
                "choice2": choices[1].format(who=who),
                "label": label,
                "idx": index,
            }
        )
    return rows


def hellaswag(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """hellaswag: the right one of four endings is what comes of the event in the context."""
    rows = []
    for index in range(count):
        who, place = rng.choice(PEOPLE), rng.choice(PLACES)
        happened, *others = rng.sample(EVENTS, 4)
        endings = [effect.format(who=who) for _, effect in (happened, *others)]
        rng.shuffle(endings)
        rows.append(
            {
                "activity_label": f"In the {place}",
                "context": f"{who} is in the {place}. {happened[0].format(who=who)}",
                "endings": endings,
                "label": endings.index(happened[1].format(who=who)),
                "source_id": f"activitynet~demo_{index}",
                "split_type": "indomain",
            }
        )
    return rows


def piqa(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """piqa: which of two things serves an aim, by the table USES."""
    rows = []
    for index in range(count):
        things = rng.sample(THINGS, 2)
        label = rng.randrange(2)
        place = rng.choice(PLACES)
        goal = f"To {USES[things[label]]} in the {place},"
        solutions = [f"use a {rng.choice(COLOURS)} {thing}." for thing in things]
        rows.append(
            {
                "goal": goal,
                "sol1": solutions[0],
                "sol2": solutions[1],
                "label": label,
                "id": str(index),
            }
        )
    return rows


def story_cloze(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """story_cloze/2016: the event before the end decides between two endings, counted from 1."""
    rows = []
    for _ in range(count):
        who, friend = rng.sample(PEOPLE, 2)
        happened, another = rng.sample(EVENTS, 2)
        sentences = (
            f"{who} was in the {rng.choice(PLACES)}.",
            f"{friend} was there, too.",
            f"They saw a {rng.choice(COLOURS)} {rng.choice(ANIMALS)}.",
            happened[0].format(who=who),
        )
        label = rng.choice((1, 2))
        endings = [happened[1].format(who=who), another[1].format(who=who)]
        if label == 2:
            endings.reverse()
        rows.append({"context": " ".join(sentences), "endings": endings, "label": label})
    return rows


GENERATORS = {
    "super_glue/copa": copa,
    "hellaswag": hellaswag,
    "piqa": piqa,
    "story_cloze/2016": story_cloze,
}
