"""Demo rows of the NLI cluster: hypotheses that follow from the premise, or do not."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.world import ANIMALS, COLOURS, PLACES, THINGS, other


def _scene(rng: random.Random) -> dict[str, str]:
    return {
        "animal": rng.choice(ANIMALS),
        "colour": rng.choice(COLOURS),
        "thing": rng.choice(THINGS),
        "place": rng.choice(PLACES),
    }


def rte(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """super_glue/rte: the hypothesis repeats a fact of the premise, or changes one word of it."""
    rows = []
    for index in range(count):
        scene = _scene(rng)
        premise = f"The {scene['animal']} is in the {scene['place']} with a {scene['colour']} {scene['thing']}."
        label = rng.randrange(2)
        said = dict(scene)
        if label == 1:
            said["place"] = other(rng, PLACES, scene["place"])
        hypothesis = f"The {said['animal']} is in the {said['place']}."
        rows.append({"premise": premise, "hypothesis": hypothesis, "label": label, "idx": index})
    return rows


GENERATORS = {"super_glue/rte": rte}
