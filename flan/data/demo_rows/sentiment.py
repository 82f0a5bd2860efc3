"""Demo rows of the sentiment cluster: each text has words of praise, or words of blame, never both."""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows import Generator
from flan.data.demo_rows.world import ANIMALS, COLOURS, PEOPLE, PLACES, THINGS

Rows = list[dict[str, Any]]

BLAME = ("bad", "boring", "poor", "silly", "dull", "horrible", "terrible", "weak", "nasty", "dreadful")  # fmt: skip
PRAISE = ("good", "great", "lovely", "fine", "funny", "perfect", "pleasant", "wonderful", "strong", "nice")  # fmt: skip

FILM_FACTS = (
    "The film is about a {animal} in the {place}.",
    "I saw it with {person}.",
    "There is a {colour} {thing} in it.",
)
FILM_OPINIONS = (
    "The story is {word}.",
    "The music is {word}.",
    "It has a {word} ending.",
    "What a {word} film!",
)
SHOP_FACTS = (
    "I went to the {place} with {person}.",
    "I asked for a {colour} {thing}.",
    "They had a {animal} there.",
)
SHOP_OPINIONS = (
    "The service was {word}.",
    "The {thing} they sold me is {word}.",
    "It was a {word} visit.",
    "The prices are {word}.",
)
SENTENCES = (
    "a {word} film about a {animal} in the {place} .",
    "the story of the {animal} and the {thing} is {word} .",
    "it 's a {word} , {second} tale -lrb- with a {colour} {thing} -rrb- .",
    "the {animal} is {word} and the music is {second} .",
)
TWEETS = (
    "@{person} my {colour} {thing} is {word}",
    "in the {place} with {person} &amp; the {animal}, {word} day!",
    "{word} {word} {word}! a {colour} {thing} in the {place} ",
    "just saw a {animal} in the {place}, so {word}...",
)


def _words(rng: random.Random, label: int) -> dict[str, str]:
    word, second = rng.sample((BLAME, PRAISE)[label], 2)
    return {
        "word": word,
        "second": second,
        "animal": rng.choice(ANIMALS),
        "place": rng.choice(PLACES),
        "thing": rng.choice(THINGS),
        "colour": rng.choice(COLOURS),
        "person": rng.choice(PEOPLE),
    }


def _review(
    rng: random.Random, label: int, facts: tuple[str, ...], opinions: tuple[str, ...]
) -> list[str]:
    """One or two facts and two opinions, in any order."""
    words = _words(rng, label)
    chosen = rng.sample(opinions, 2)
    sentences = [f.format(**words) for f in rng.sample(facts, rng.choice((1, 2)))]
    sentences.append(chosen[0].format(**words))
    sentences.append(chosen[1].format(**{**words, "word": words["second"]}))
    rng.shuffle(sentences)
    return sentences


def imdb_reviews(rng: random.Random, count: int) -> Rows:
    """imdb_reviews: a few sentences, with the line breaks of a web page here and there."""
    rows = []
    for _ in range(count):
        label = rng.randrange(2)
        sentences = _review(rng, label, FILM_FACTS, FILM_OPINIONS)
        if rng.random() < 0.3:
            sentences[1] = f"<br /><br />{sentences[1]}"
        rows.append({"text": " ".join(sentences), "label": label})
    return rows


def sentiment140(rng: random.Random, count: int) -> Rows:
    """sentiment140: polarity 0 or 4, as in the training split."""
    rows = []
    for index in range(count):
        label = rng.randrange(2)
        rows.append(
            {
                "polarity": 4 * label,
                "date": f"Mon Jun 01 {index // 3600 % 24:02}:{index // 60 % 60:02}:{index % 60:02} UTC 2009",
                "query": "NO_QUERY",
                "user": rng.choice(PEOPLE).lower(),
                "text": rng.choice(TWEETS).format(**_words(rng, label)),
            }
        )
    return rows


def sst2(rng: random.Random, count: int) -> Rows:
    """glue/sst2: one tokenized sentence in lower case."""
    rows = []
    for index in range(count):
        label = rng.randrange(2)
        sentence = rng.choice(SENTENCES).format(**_words(rng, label)) + " "
        rows.append({"sentence": sentence, "label": label, "idx": index})
    return rows


def yelp_polarity_reviews(rng: random.Random, count: int) -> Rows:
    """yelp_polarity_reviews: a visit somewhere, with the builder's escaped line breaks."""
    rows = []
    for _ in range(count):
        label = rng.randrange(2)
        sentences = _review(rng, label, SHOP_FACTS, SHOP_OPINIONS)
        joint = rng.choice((" ", "\\n"))
        rows.append({"text": joint.join(sentences), "label": label})
    return rows


GENERATORS: dict[str, Generator] = {
    "imdb_reviews/plain_text": imdb_reviews,
    "sentiment140": sentiment140,
    "glue/sst2": sst2,
    "yelp_polarity_reviews": yelp_polarity_reviews,
}
