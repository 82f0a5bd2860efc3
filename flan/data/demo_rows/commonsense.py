"""Demo rows of the commonsense cluster: what leads to what, and what a thing is good for."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.world import EVENTS, PEOPLE


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


GENERATORS = {"super_glue/copa": copa}
