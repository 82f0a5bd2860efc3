"""Demo rows of the summarization cluster: a few short sentences, and what they come to.

Each summary picks words of its text by a fixed rule, different from dataset to dataset.
"""

from __future__ import annotations

import random
import re
from typing import Any

from flan.data.demo_rows.world import (
    ANIMALS,
    COLOURS,
    DAYS,
    PEOPLE,
    PLACES,
    SIZES,
    THINGS,
    other,
)

Rows = list[dict[str, Any]]


def _pick(rng: random.Random) -> dict[str, str]:
    who = rng.choice(PEOPLE)
    return {
        "who": who,
        "friend": other(rng, PEOPLE, who),
        "animal": rng.choice(ANIMALS),
        "thing": rng.choice(THINGS),
        "place": rng.choice(PLACES),
        "colour": rng.choice(COLOURS),
        "size": rng.choice(SIZES),
        "day": rng.choice(DAYS),
    }


def _fill(rng: random.Random, frames: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """One of the frames, all its texts filled with the same words."""
    words = _pick(rng)
    return tuple(_with_articles(text.format(**words)) for text in rng.choice(frames))


def _with_articles(text: str) -> str:
    """Puts "an" where a vowel follows: "A old dog" -> "An old dog"."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def aeslc(rng: random.Random, count: int) -> Rows:
    """aeslc: the subject names the thing and the day, or the thing and the place."""
    frames = (
        (
            "{who},\nthe {colour} {thing} will be here on {day}. Please come to the {place}.\n{friend}\n",
            "{thing} on {day}",
        ),
        (
            "Hi {who},\nI left your {thing} in the {place}. Can you pick it up on {day}?\nThanks\n",
            "{thing} in the {place}",
        ),
    )
    rows = []
    for _ in range(count):
        body, subject = _fill(rng, frames)
        rows.append({"email_body": body, "subject_line": subject.capitalize()})
    return rows


def ag_news_subset(rng: random.Random, count: int) -> Rows:
    """ag_news_subset: who did what, shortened to a headline; one kind of event for each topic."""
    by_label = (
        ("{who} will lead the town near the {place} after a vote on {day}.", "{who} Wins Vote"),
        ("{who} beat {friend} in the final at the {place} on {day}.", "{who} Beats {friend}"),
        ("The {thing} maker from the {place} sold more on {day}, {who} said.", "{thing} Sales Up"),
        ("{who} built a {colour} {thing} that talks, {friend} said on {day}.", "Talking {thing}"),
    )
    rows = []
    for _ in range(count):
        label = rng.randrange(4)
        description, title = _fill(rng, (by_label[label],))
        rows.append({"title": title.title(), "description": description, "label": label})
    return rows


def cnn_dailymail(rng: random.Random, count: int) -> Rows:
    """cnn_dailymail: the highlights keep the first sentence's core and who spoke."""
    frames = (
        (
            '(CNN) -- {who} found a {colour} {thing} in the {place} on {day}. "It was very {size}," '
            "{friend} said. It will stay there until the week ends.",
            "{who} finds {colour} {thing} .\n{friend} says it is {size} .",
        ),
        (
            "(CNN) -- A {size} {animal} ran through the {place} on {day}. {who} took it home. "
            '"It was {colour}," {friend} said.',
            "{animal} runs through {place} .\n{who} takes it home .",
        ),
    )
    rows = []
    for index in range(count):
        article, highlights = _fill(rng, frames)
        row = {"article": article, "highlights": highlights[0].upper() + highlights[1:]}
        rows.append({**row, "id": f"demo-{index}", "publisher": "cnn"})
    return rows


def gigaword(rng: random.Random, count: int) -> Rows:
    """gigaword: lower-case and tokenized; the headline drops articles, day and speaker."""
    frames = (
        (
            "a {size} {animal} was found in the {place} on {day} , {who} said .",
            "{animal} found in {place}",
        ),
        (
            "{who} bought the {colour} {thing} of {friend} for ## dollars {day} .",
            "{who} buys {thing} of {friend}",
        ),
        ("{who} 's {thing} was stolen from the {place} {day} .", "{thing} stolen from {place}"),
    )
    rows = []
    for _ in range(count):
        document, summary = _fill(rng, frames)
        rows.append({"document": document.lower(), "summary": summary.lower()})
    return rows


def idebate(rng: random.Random, count: int) -> Rows:
    """opinion_abstracts/idebate: the claim puts the motion's place and what it would bring together."""
    effects = (
        ("quieter", "Nobody could sleep before.", "The noise would stop."),
        ("cleaner", "There is dirt everywhere now.", "Less would be thrown away."),
        ("safer", "Many people have been hurt.", "Accidents would be rare."),
        ("cheaper", "It costs too much today.", "Money would be saved."),
    )
    rows = []
    for index in range(count):
        words = _pick(rng)
        effect, *arguments = rng.choice(effects)
        place, animal = words["place"], words["animal"]
        arguments.append(f"{words['who']} has seen it in the {place}.")
        rows.append(
            {
                "_debate_name": f"This house would ban the {words['size']} {animal} from the {place}",
                "_claim": f"The {place} would be {effect}.",
                "_claim_id": f"{index}_0",
                "_argument_sentences": {
                    "key": [str(i) for i in range(len(arguments))],
                    "value": arguments,
                },
            }
        )
    return rows


def multi_news(rng: random.Random, count: int) -> Rows:
    """multi_news: the first article tells who did what, the second where; the summary both."""
    frames = (
        (
            "{who} lost a {colour} {thing} on {day}. {friend} helped. ||||| "
            "The {thing} was lost in the {place}, people say.",
            "– {who} lost a {colour} {thing} in the {place} on {day}.",
        ),
        (
            "A {size} {animal} bit {who} on {day}. ||||| "
            "The {animal} lives in the {place}. {friend} owns it. ||||| {who} is well again.",
            "– A {animal} bit {who} in the {place} on {day}. {who} is well again.",
        ),
    )
    rows = []
    for _ in range(count):
        document, summary = _fill(rng, frames)
        rows.append({"document": document, "summary": summary})
    return rows


def newsroom(rng: random.Random, count: int) -> Rows:
    """newsroom: the summary is the first sentence without its day."""
    frames = (
        (
            "{who} opened a {size} shop near the {place} on {day}. It sells every kind of {thing}.",
            "{who} opened a {size} shop near the {place}.",
            "A shop for every {thing}",
        ),
        (
            "The {colour} {animal} of {who} won a prize on {day}. {friend} came second.",
            "The {colour} {animal} of {who} won a prize.",
            "A prize for {who}",
        ),
    )
    rows = []
    for index in range(count):
        text, summary, title = _fill(rng, frames)
        rows.append(
            {
                "text": text,
                "summary": summary,
                "title": title,
                "url": f"https://example.org/{index}",
                "date": "",
                "density": 1.0,
                "density_bin": "low",
                "coverage": 1.0,
                "coverage_bin": "extractive",
                "compression": 2.0,
                "compression_bin": "low",
            }
        )
    return rows


def rotten_tomatoes(rng: random.Random, count: int) -> Rows:
    """opinion_abstracts/rotten_tomatoes: all critics say the same of two things, in other words."""
    good = {"story": ("A clever story.", "The story holds you."), "actors": ("Great actors.",)}
    bad = {"story": ("The story is a mess.", "No story at all."), "actors": ("Weak actors.",)}
    rows = []
    for index in range(count):
        words = _pick(rng)
        movie = f"The {words['colour']} {words['animal']} of the {words['place']}".title()
        views = {topic: rng.choice(("good", "poor")) for topic in ("story", "actors")}
        reviews = [
            f"{rng.choice((good if view == 'good' else bad)[topic])}"
            for topic, view in views.items()
        ]
        rng.shuffle(reviews)
        rows.append(
            {
                "_movie_name": movie,
                "_movie_id": f"demo_{index}",
                "_critic_consensus": f"{movie} has a {views['story']} story and {views['actors']} actors.",
                "_critics": {"key": [str(i) for i in range(len(reviews))], "value": reviews},
            }
        )
    return rows


def samsum(rng: random.Random, count: int) -> Rows:
    """samsum: the summary says who meets, gives or looks for what, and where."""
    frames = (
        (
            "{who}: see you in the {place}?\r\n{friend}: yes, on {day}\r\n{who}: great :)",
            "{who} and {friend} will meet in the {place} on {day}.",
        ),
        (
            "{who}: where is my {colour} {thing}?\r\n{friend}: in the {place}, I think\r\n{who}: thanks",
            "{who}'s {thing} is in the {place}.",
        ),
        (
            "{who}: I need a {thing}\r\n{friend}: take mine\r\n{who}: thanks!\r\n{friend}: bring it back on {day}",
            "{friend} lends {who} a {thing} until {day}.",
        ),
    )
    rows = []
    for index in range(count):
        dialogue, summary = _fill(rng, frames)
        rows.append({"id": f"demo-{index}", "dialogue": dialogue, "summary": summary})
    return rows


def wiki_lingua(rng: random.Random, count: int) -> Rows:
    """gem/wiki_lingua_english_en: each sentence of detail stands for a step with its verb."""
    details = {
        "Find": "You need a {colour} {thing}. Look in the {place} first.",
        "Wash": "Warm water makes the {thing} clean. Use soap.",
        "Dry": "Leave the {thing} in the sun. A {size} towel helps.",
        "Paint": "Take {colour} paint for the {thing}. Two coats are enough.",
        "Hide": "Nobody should see the {thing}. The {place} is a good spot.",
    }
    rows = []
    for index in range(count):
        words = _pick(rng)
        steps = rng.sample(list(details), 3)
        source = _with_articles(" ".join(details[step] for step in steps).format(**words))
        target = " ".join(f"{step} the {words['thing']}." for step in steps)
        rows.append(
            {
                "gem_id": f"demo-{index}",
                "gem_parent_id": f"demo-{index}",
                "source": source,
                "target": target,
                "references": [target],
                "source_aligned": {"en": source},
                "target_aligned": {"en": target},
            }
        )
    return rows


def xsum(rng: random.Random, count: int) -> Rows:
    """xsum: one sentence from the parts of two."""
    frames = (
        (
            "The {colour} {animal} was seen near the {place} on {day}.\n{who} had looked for it all week.",
            "{who}'s missing {animal} has been found near the {place}.",
        ),
        (
            "The fire began on {day} in a {thing} factory.\nNo one was hurt, but the {place} is closed.",
            "A fire in a {thing} factory has closed the {place}.",
        ),
        (
            "The {place} needs a new roof.\n{who} will pay for it, {friend} said on {day}.",
            "{who} has promised a new roof for the {place}.",
        ),
    )
    rows = []
    for _ in range(count):
        document, summary = _fill(rng, frames)
        rows.append({"document": document, "summary": summary})
    return rows


GENERATORS = {
    "aeslc": aeslc,
    "ag_news_subset": ag_news_subset,
    "cnn_dailymail": cnn_dailymail,
    "gigaword": gigaword,
    "opinion_abstracts/idebate": idebate,
    "multi_news": multi_news,
    "newsroom": newsroom,
    "opinion_abstracts/rotten_tomatoes": rotten_tomatoes,
    "samsum": samsum,
    "gem/wiki_lingua_english_en": wiki_lingua,
    "xsum": xsum,
}
