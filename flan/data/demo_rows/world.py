"""A small world that the demo rows speak of: people, animals, things, places, colours.

All clusters draw on the same words, so that a tiny model meets each often, and what one
cluster teaches (what a colour is, what "yes" answers) can carry over to another.
"""

from __future__ import annotations

import random

PEOPLE = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack")
ANIMALS = ("dog", "cat", "horse", "bird", "fish", "cow", "mouse", "fox", "bear", "duck")
THINGS = ("ball", "book", "lamp", "chair", "cup", "hat", "box", "bag", "key", "clock")
PLACES = ("park", "kitchen", "garden", "school", "market", "station", "library", "beach")
COLOURS = ("red", "blue", "green", "black", "white", "yellow", "brown", "grey")
SIZES = ("small", "big", "old", "new", "tiny", "large")
ACTIONS = ("sleeps", "runs", "sits", "waits", "plays", "sings", "eats", "jumps")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# What happens and what comes of it; `{who}` is a person.
EVENTS = (
    ("{who} was hungry.", "{who} ate a big lunch."),
    ("{who} was thirsty.", "{who} drank some water."),
    ("{who} was tired.", "{who} went to bed."),
    ("{who} was cold.", "{who} put on a coat."),
    ("{who} was ill.", "{who} called the doctor."),
    ("{who} heard a joke.", "{who} laughed out loud."),
    ("{who} lost the key.", "{who} could not open the door."),
    ("{who} dropped the cup.", "The cup broke on the floor."),
    ("{who} forgot the umbrella.", "{who} got wet in the rain."),
    ("{who} ran a long way.", "{who} was out of breath."),
    ("{who} missed the bus.", "{who} was late for school."),
    ("{who} won the race.", "{who} got a gold medal."),
    ("{who} lost the ball.", "{who} looked under the chairs."),
    ("{who} broke the lamp.", "{who} had to sit in the dark."),
    ("{who} planted some seeds.", "Flowers grew in the garden."),
    ("{who} left the gate open.", "The dog ran into the street."),
)

# Facts about each of ANIMALS that a model can only know by heart.
ANIMAL_FACTS = {
    "dog": {"cover": "fur", "home": "kennel", "food": "bones", "feet": "paws"},
    "cat": {"cover": "fur", "home": "basket", "food": "mice", "feet": "paws"},
    "horse": {"cover": "hair", "home": "stable", "food": "hay", "feet": "hooves"},
    "bird": {"cover": "feathers", "home": "nest", "food": "seeds", "feet": "claws"},
    "fish": {"cover": "scales", "home": "sea", "food": "worms", "feet": "fins"},
    "cow": {"cover": "hair", "home": "barn", "food": "grass", "feet": "hooves"},
    "mouse": {"cover": "fur", "home": "hole", "food": "cheese", "feet": "paws"},
    "fox": {"cover": "fur", "home": "den", "food": "rabbits", "feet": "paws"},
    "bear": {"cover": "fur", "home": "cave", "food": "honey", "feet": "paws"},
    "duck": {"cover": "feathers", "home": "pond", "food": "bread", "feet": "webbed feet"},
}

# What each of THINGS is for.
USES = {
    "ball": "play a game",
    "book": "read a story",
    "lamp": "see in the dark",
    "chair": "sit down",
    "cup": "drink some tea",
    "hat": "keep warm",
    "box": "store old letters",
    "bag": "carry the shopping",
    "key": "open a locked door",
    "clock": "know what time it is",
}


def plural(thing: str) -> str:
    """Several of one of THINGS or ANIMALS: `balls`, `boxes`, `mice`, `fish`."""
    irregular = {"mouse": "mice", "fish": "fish"}
    return irregular.get(thing, f"{thing}{'es' if thing.endswith('x') else 's'}")


def other(rng: random.Random, words: tuple[str, ...], *not_these: str) -> str:
    """A word of `words` that is none of `not_these`."""
    return rng.choice([w for w in words if w not in not_these])
