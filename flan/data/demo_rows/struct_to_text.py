"""Demo rows of the struct_to_text cluster: facts of a small scene, and the sentence they make."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.world import ACTIONS, ANIMALS, COLOURS, PEOPLE, PLACES, THINGS

FOODS = ("Chinese", "English", "French", "Indian", "Italian", "Japanese")
KINDS = ("pub", "restaurant", "coffee shop")
PRICES = ("cheap", "moderate", "high")


def _with_ids(rows: list[dict[str, Any]], config: str) -> list[dict[str, Any]]:
    """Adds what each GEM row has: ids, and the references (here the target alone)."""
    for index, row in enumerate(rows):
        row["gem_id"] = row["gem_parent_id"] = f"{config}-demo-{index}"
        row["references"] = [row["target"]]
    return rows


def common_gen(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """gem/common_gen: three to five concepts in alphabetical order, one sentence with all of them."""
    rows: list[dict[str, Any]] = []
    for index in range(count):
        animal, place, action = rng.choice(ANIMALS), rng.choice(PLACES), rng.choice(ACTIONS)
        concepts = [animal, place, action.removesuffix("s")]
        who, what = f"The {animal}", ""
        if rng.random() < 0.7:
            colour = rng.choice(COLOURS)
            concepts.append(colour)
            who = f"The {colour} {animal}"
        if rng.random() < 0.7:
            thing = rng.choice(THINGS)
            concepts.append(thing)
            what = f" with a {thing}"
        target = f"{who} {action} in the {place}{what}."
        rows.append({"concepts": sorted(concepts), "concept_set_id": index, "target": target})
    return _with_ids(rows, "common_gen")


def _scene(rng: random.Random) -> tuple[str, str, list[tuple[str, str, str]]]:
    """Owner, animal, and the facts (subject, relation in words, object) about them."""
    person, animal = rng.choice(PEOPLE), rng.choice(ANIMALS)
    facts = [
        (animal, "owner", person),
        (animal, "colour", rng.choice(COLOURS)),
        (animal, "favourite thing", rng.choice(THINGS)),
        (person, "home city", f"New {rng.choice(PLACES).title()}"),
    ]
    return person, animal, facts[: rng.randint(2, 4)]


def _told(person: str, animal: str, facts: list[tuple[str, str, str]]) -> str:
    known = {relation: value for _, relation, value in facts}
    text = f"{person} has a {known['colour']} {animal}"
    if "favourite thing" in known:
        text += f" that likes a {known['favourite thing']}"
    if "home city" in known:
        text += f" and lives in {known['home city']}"
    return text + "."


def dart(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """gem/dart: facts as `subject RELATION object`, told in one sentence."""
    rows: list[dict[str, Any]] = []
    for index in range(count):
        person, animal, facts = _scene(rng)
        rows.append(
            {
                "dart_id": index,
                "subtree_was_extended": False,
                "target": _told(person, animal, facts),
                "target_sources": ["webnlg"],
                "tripleset": [f"{s} {r.upper().replace(' ', '_')} {o}" for s, r, o in facts],
            }
        )
    return _with_ids(rows, "dart")


def web_nlg(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """gem/web_nlg_en: facts as `Subject | property | Object`, told in one sentence."""
    rows: list[dict[str, Any]] = []
    for index in range(count):
        person, animal, facts = _scene(rng)
        rows.append(
            {
                "category": "Animal",
                "input": [" | ".join((s, _camel(r), o.replace(" ", "_"))) for s, r, o in facts],
                "target": _told(person, animal, facts),
                "webnlg_id": f"demo/Animal/{len(facts)}/Id{index}",
            }
        )
    return _with_ids(rows, "web_nlg_en")


def _camel(relation: str) -> str:
    first, *rest = relation.split()
    return first + "".join(word.title() for word in rest)


def e2e_nlg(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """gem/e2e_nlg: attributes of a place to eat or drink, and a sentence about it."""
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        name = f"The {rng.choice(COLOURS).title()} {rng.choice(ANIMALS).title()}"
        kind, food = rng.choice(KINDS), rng.choice(FOODS)
        slots = [("name", name), ("eatType", kind), ("food", food)]
        text = f"{name} is a {kind} that serves {food} food"
        if rng.random() < 0.6:
            price = rng.choice(PRICES)
            slots.append(("priceRange", price))
            text += f" at {price} prices"
        if rng.random() < 0.6:
            near = f"The {rng.choice(THINGS).title()}"
            slots.append(("near", near))
            text += f" near {near}"
        if rng.random() < 0.6:
            friendly = rng.random() < 0.5
            slots.append(("familyFriendly", "yes" if friendly else "no"))
            text += ". It is family friendly" if friendly else ". It is not family friendly"
        meaning = ", ".join(f"{key}[{value}]" for key, value in slots)
        rows.append({"meaning_representation": meaning, "target": f"{text}."})
    return _with_ids(rows, "e2e_nlg")


GENERATORS = {
    "gem/common_gen": common_gen,
    "gem/dart": dart,
    "gem/e2e_nlg": e2e_nlg,
    "gem/web_nlg_en": web_nlg,
}
