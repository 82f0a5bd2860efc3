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


def other(rng: random.Random, words: tuple[str, ...], *not_these: str) -> str:
    """A word of `words` that is none of `not_these`."""
    return rng.choice([w for w in words if w not in not_these])
