"""Demo rows of the misc cluster: short dialogues, word senses, sums, question types, word order."""

from __future__ import annotations

import random
import re
import string
from typing import Any

from flan.data.demo_rows.extra import english_danish
from flan.data.demo_rows.world import (
    ACTIONS,
    ANIMALS,
    COLOURS,
    DAYS,
    PEOPLE,
    PLACES,
    SIZES,
    THINGS,
)

Rows = list[dict[str, Any]]


def coqa(rng: random.Random, count: int) -> Rows:
    """coqa: who is where, with what; each question is about the person last named in the talk."""
    rows = []
    for _ in range(count):
        story, turns = "", []
        for person in rng.sample(PEOPLE, 2):
            place, colour, thing = (rng.choice(words) for words in (PLACES, COLOURS, THINGS))
            story += f"{person} is in the {place}. {person} has a {colour} {thing}. "
            turns += [
                (f"Where is {person}?", f"in the {place}"),
                (f"What does {person} have?", f"a {colour} {thing}"),
                ("What colour is it?", colour),
            ]
        story = story.strip()
        starts = [story.index(answer) for _, answer in turns]
        rows.append(
            {
                "source": "demo",
                "story": story,
                "questions": [question for question, _ in turns],
                "answers": {
                    "input_text": [answer for _, answer in turns],
                    "answer_start": starts,
                    "answer_end": [
                        start + len(answer)
                        for start, (_, answer) in zip(starts, turns, strict=True)
                    ],
                },
            }
        )
    return rows


def quac(rng: random.Random, count: int) -> Rows:
    """quac: the answer is the one sentence about what was asked; "when" is never told."""
    rows = []
    for _ in range(count):
        person, place, thing = rng.choice(PEOPLE), rng.choice(PLACES), rng.choice(THINGS)
        animal, colour = rng.choice(ANIMALS), rng.choice(COLOURS)
        facts = {
            "Where does {} live?": f"{person} lives near the {place}",
            "What animal does {} have?": f"{person} has a {colour} {animal}",
            "What did {} buy?": f"{person} bought a {thing}",
        }
        sentences = [f"{fact}." for fact in facts.values()]
        rng.shuffle(sentences)
        context = " ".join(sentences) + " CANNOTANSWER"
        question = rng.choice([*facts, "When was {} born?"])
        answer = facts.get(question, "CANNOTANSWER")
        start = context.index(answer)
        rows.append(
            {
                "title": person,
                "section_title": f"Life at the {place}",
                "background": f"{person} is a person of our small world.",
                "context": context,
                "question": question.format(person),
                "orig_answer": {"text": answer, "answer_start": start},
                "answers": {"text": [answer], "answer_start": [start]},
                "yesno": "x",
                "followup": "y",
            }
        )
    return rows


# Word -> sentences with one of its senses, sentences with the other.
SENSES = {
    "bat": (
        ("A bat flew over the {place}.", "The {size} bat sleeps all day.", "{who} fed the bat."),
        ("{who} hit the ball with a bat.", "The bat is made of wood.", "{who} swung the bat."),
    ),
    "bank": (
        ("{who} sat on the bank of the river.", "A {animal} ran along the muddy bank."),
        ("{who} took money to the bank.", "The bank near the {place} lends money."),
    ),
    "ring": (
        ("{who} wears a gold ring.", "The {colour} ring is too small for {who}."),
        ("We heard the phone ring in the {place}.", "The bells ring on {day}."),
    ),
    "light": (
        ("The {thing} is light, not heavy.", "{who} carried a light bag to the {place}."),
        ("The light in the {place} was off.", "{who} saw a {colour} light."),
    ),
    "bark": (
        ("The dogs bark at {who}.", "We heard the bark of a {size} dog."),
        ("The tree has {colour} bark.", "The {animal} ate the bark of the tree."),
    ),
    "match": (
        ("{who} won the match on {day}.", "The match was played in the {place}."),
        ("{who} lit the fire with a match.", "The last match would not burn."),
    ),
    "fly": (
        ("The {colour} birds fly over the {place}.", "{who} will fly home on {day}."),
        ("A fly fell into the cup.", "{who} found a dead fly in the {place}."),
    ),
    "spring": (
        ("Flowers grow in the {place} in spring.", "Last spring {who} moved house."),
        ("The spring in the {thing} is broken.", "{who} mended the metal spring."),
    ),
}


def _use(rng: random.Random, word: str, sense: int, *taken: str) -> tuple[str, int, int]:
    """A sentence unlike `taken` with the word in that sense, and where the word stands in it."""
    while True:
        sentence = rng.choice(SENSES[word][sense]).format(
            who=rng.choice(PEOPLE),
            place=rng.choice(PLACES),
            animal=rng.choice(ANIMALS),
            colour=rng.choice(COLOURS),
            size=rng.choice(SIZES),
            thing=rng.choice(THINGS),
            day=rng.choice(DAYS),
        )
        if sentence not in taken:
            found = re.search(rf"\b{word}\b", sentence.lower())
            assert found, f"{sentence!r} lacks {word!r}"
            return sentence, found.start(), found.end()


def wic(rng: random.Random, count: int) -> Rows:
    """super_glue/wic: eight words with two senses each, told apart by the words beside them."""
    rows = []
    for index in range(count):
        word, sense, label = rng.choice(list(SENSES)), rng.randrange(2), rng.randrange(2)
        first, start1, end1 = _use(rng, word, sense)
        second, start2, end2 = _use(rng, word, sense if label else 1 - sense, first)
        rows.append(
            {
                "word": word,
                "sentence1": first,
                "sentence2": second,
                "start1": start1,
                "end1": end1,
                "start2": start2,
                "end2": end2,
                "label": label,
                "idx": index,
            }
        )
    return rows


def math(rng: random.Random, count: int) -> Rows:
    """math_dataset/algebra__linear_1d: one step to the solution, which is at most 12."""
    rows = []
    for _ in range(count):
        x, name, a = rng.randint(0, 12), rng.choice(string.ascii_lowercase), rng.randint(1, 9)
        left, right = rng.choice(
            [(f"{name} + {a}", x + a), (f"{name} - {a}", x - a), (f"{a}*{name}", a * x)]
        )
        equation = f"{left} = {right}" if rng.random() < 0.5 else f"{right} = {left}"
        rows.append({"question": f"Solve {equation} for {name}.", "answer": str(x)})
    return rows


# Frames for each coarse class in the builder's order, with the index of a fine class.
_QUESTIONS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (
        9,
        (
            "Why did {who} take the {thing} to the {place}?",
            "How does the {colour} {thing} of {who} work?",
        ),
    ),
    (
        2,
        (
            "What animal saw {who} in the {colour} {place}?",
            "What colour is the {size} {thing} of {who}?",
        ),
    ),
    (3, ("What does {letters} stand for?", "What is {letters} short for?")),
    (4, ("Who saw the {colour} {animal} in the {place}?", "Who gave {who} the {colour} {thing}?")),
    (
        13,
        (
            "How many people saw {who} in the {colour} {place}?",
            "How old is the {colour} {thing} of {who}?",
        ),
    ),
    (14, ("Where is the {size} {colour} {thing}?", "Where did {who} see the {colour} {animal}?")),
)


def trec(rng: random.Random, count: int) -> Rows:
    """trec: the question's first words tell its class; tokenized, as the builder's text is."""
    rows = []
    for _ in range(count):
        coarse = rng.randrange(6)
        fine, frames = _QUESTIONS[coarse]
        text = rng.choice(frames).format(
            who=rng.choice(PEOPLE),
            place=rng.choice(PLACES),
            thing=rng.choice(THINGS),
            animal=rng.choice(ANIMALS),
            colour=rng.choice(COLOURS),
            size=rng.choice(SIZES),
            letters="".join(rng.sample(string.ascii_uppercase, 3)),
        )
        row = {"text": text.replace("?", " ?"), "label-coarse": coarse, "label-fine": fine}
        rows.append(row)
    return rows


def cola(rng: random.Random, count: int) -> Rows:
    """glue/cola: plain word order is acceptable, two neighbours swapped are not."""
    rows = []
    for index in range(count):
        animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
        words = ["the", rng.choice(SIZES), rng.choice(COLOURS), animal]
        words += [rng.choice(ACTIONS), "in", "the", place]
        label = rng.randrange(2)
        if label == 0:
            at = rng.choice([0, 2, 5, 6])
            words[at], words[at + 1] = words[at + 1], words[at]
        sentence = " ".join(words).capitalize() + "."
        rows.append({"sentence": sentence, "label": label, "idx": index})
    return rows


GENERATORS = {
    "coqa": coqa,
    "quac": quac,
    "super_glue/wic": wic,
    "math_dataset/algebra__linear_1d": math,
    "para_crawl/enda": english_danish,
    "trec": trec,
    "glue/cola": cola,
}
