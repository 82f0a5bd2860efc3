"""Demo rows of the coreference cluster: whom of two a reason fits.

One animal does something for another, and a reason is given: some reasons fit the one who
gives, the others the one who receives. The last word decides, in all four builders alike.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from flan.data.demo_rows.world import ANIMALS, PEOPLE, PLACES, THINGS, other

VERBS = ("helped", "fed", "carried", "thanked")
GIVER = ("kind", "strong", "generous", "rich")
RECEIVER = ("weak", "hungry", "tired", "lost")


@dataclasses.dataclass(frozen=True)
class Scene:
    """`first` does `verb` to `second` because the one at `meant` (0 or 1) is `reason`."""

    first: str
    second: str
    verb: str
    place: str
    reason: str
    meant: int

    def text(self, stand_in: str) -> str:
        """The scene in a sentence, with `stand_in` for whom the reason is about."""
        return (
            f"{_capital(self.first)} {self.verb} {self.second} in the {self.place} "
            f"because {stand_in} was {self.reason}."
        )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _scene(rng: random.Random, names: tuple[str, ...] = ANIMALS, article: str = "the ") -> Scene:
    first = rng.choice(names)
    second = other(rng, names, first)
    meant = rng.randrange(2)
    reason = rng.choice((GIVER, RECEIVER)[meant])
    verb, place = rng.choice(VERBS), rng.choice(PLACES)
    return Scene(f"{article}{first}", f"{article}{second}", verb, place, reason, meant)


def definite_pronoun_resolution(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """definite_pronoun_resolution: a sentence, its pronoun and the two animals as candidates."""
    rows = []
    for _ in range(count):
        scene = _scene(rng)
        rows.append(
            {
                "sentence": scene.text("it"),
                "pronoun": "it",
                "candidates": [_capital(scene.first), scene.second],
                "label": scene.meant,
            }
        )
    return rows


def winogrande(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """winogrande: people or things to fill the blank with, in either order."""
    rows = []
    for _ in range(count):
        if rng.random() < 0.5:
            scene = _scene(rng, PEOPLE, article="")
            sentence, names = scene.text("_"), (scene.first, scene.second)
            meant = scene.meant
        else:
            inner = rng.choice(THINGS)
            names = (inner, other(rng, THINGS, inner))
            meant = rng.randrange(2)
            sentence = (
                f"The {names[0]} in the {rng.choice(PLACES)} does not fit into the {names[1]} "
                f"because the _ is too {('large', 'small')[meant]}."
            )
        turned = rng.randrange(2)
        rows.append(
            {
                "sentence": sentence,
                "option1": names[turned],
                "option2": names[1 - turned],
                "label": meant ^ turned,
            }
        )
    return rows


def wsc_fixed(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """super_glue/wsc.fixed: whether the pronoun means the animal that is asked about."""
    rows = []
    for index in range(count):
        scene = _scene(rng)
        text, asked = scene.text("it"), rng.randrange(2)
        words = text.split()
        rows.append(
            {
                "text": text,
                "span1_text": (_capital(scene.first), scene.second)[asked],
                "span1_index": (0, 3)[asked],
                "span2_text": "it",
                "span2_index": words.index("it"),
                "label": int(asked == scene.meant),
                "idx": index,
            }
        )
    return rows


def wsc273(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """wsc273: twins that differ in the reason alone, with the two animals as options."""
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        scene = _scene(rng)
        for meant, reasons in enumerate((GIVER, RECEIVER)):
            twin = dataclasses.replace(scene, meant=meant, reason=rng.choice(reasons))
            text = twin.text("it")
            start = text.index(" it ") + 1
            rows.append(
                {
                    "text": text,
                    "option1": _capital(twin.first),
                    "option1_normalized": twin.first,
                    "option2": twin.second,
                    "option2_normalized": twin.second,
                    "pronoun_text": "it",
                    "pronoun_start": start,
                    "pronoun_end": start + 2,
                    "label": meant,
                    "idx": len(rows),
                }
            )
    return rows[:count]


GENERATORS = {
    "definite_pronoun_resolution": definite_pronoun_resolution,
    "winogrande": winogrande,
    "super_glue/wsc.fixed": wsc_fixed,
    "wsc273": wsc273,
}
