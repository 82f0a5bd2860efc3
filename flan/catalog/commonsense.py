"""Commonsense: choosing the continuation, the cause or the way of doing a thing that is plausible."""

from __future__ import annotations

import re

from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.registry import register
from flan.catalog.text import one_line

SUPER_GLUE = "TFDS super_glue 1.0.2, catalog"

# COPA's two relations: the question that asks for it, and the word that joins it to the premise.
_COPA_QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
_COPA_LINKS = {"cause": "because", "effect": "so"}

# WikiHow texts in HellaSwag mark their parts: [header] and [title] are headings.
_HEADING_END = re.compile(r"([.?!:])?\s*\[title\]\s*")
_MARKER = re.compile(r"\[(?:header|step|substeps)\]")

STORY_CLOZE_HOW = (
    "Ask for the data with the form at https://www.cs.rochester.edu/nlp/rocstories/, then put "
    "cloze_test_val__spring2016.csv and cloze_test_test__spring2016.csv into TFDS's manual folder."
)


@register(
    name="copa",
    cluster="commonsense",
    title="COPA",
    task_type="multiple_choice",
    fields=("premise", "opening", "relation", "question", "link"),
    metrics=("accuracy",),
    dev_size=50,
    sources=(
        Source(
            "copa",
            "super_glue/copa",
            "1.0.2",
            sizes={"train": 400, "validation": 100, "test": 500},
            sizes_from=SUPER_GLUE,
        ),
    ),
)
def copa(row: Row) -> Fields | None:
    """Choice of Plausible Alternatives (super_glue/copa): the likelier cause or effect of an event.

    Row:    {"premise": "The pond froze over.", "question": "cause",
             "choice1": "The night was very cold.", "choice2": "Children skated on it.",
             "label": 0, "idx": 0}
    Fields: premise as it is; opening is the premise without its full stop; relation "cause"
            or "effect"; question "What was the cause of this?" or "What happened as a
            result?"; link "because" or "so"; options are the two choices, answer
            "The night was very cold."
    """
    relation = row["question"]
    if relation not in _COPA_QUESTIONS:
        return None
    premise = row["premise"].strip()
    return choice(
        (one_line(row["choice1"]), one_line(row["choice2"])),
        row["label"],
        premise=premise,
        opening=premise.rstrip("."),
        relation=relation,
        question=_COPA_QUESTIONS[relation],
        link=_COPA_LINKS[relation],
    )


@register(
    name="hellaswag",
    cluster="commonsense",
    title="HellaSwag",
    task_type="multiple_choice",
    fields=("context", "activity"),
    metrics=("accuracy",),
    sources=(
        Source(
            "hellaswag",
            "hellaswag",
            "1.1.0",
            sizes={"train": 39_905, "validation": 10_042, "test": 10_003},
            sizes_from="TFDS hellaswag, catalog",
        ),
    ),
)
def hellaswag(row: Row) -> Fields | None:
    """HellaSwag (hellaswag): how a video caption or a WikiHow article goes on.

    Row:    {"context": "[header] How to peel an egg [title] Cool it. [step] Use cold water.",
             "endings": ["Then crack the shell.", "Eat the shell.", "Boil the pan.",
             "[substeps] Paint it."], "label": 0, "activity_label": "Food",
             "source_id": "wikihow~1", "split_type": "indomain"}
    Fields: context "How to peel an egg. Cool it. Use cold water.", without WikiHow's markers
            (captions often stop in mid-sentence); activity "Food"; options are the endings,
            cleaned alike; answer "Then crack the shell." The builder's test labels are -1.
    """
    if row["label"] >= len(row["endings"]):
        return None
    return choice(
        [_without_markers(ending) for ending in row["endings"]],
        row["label"],
        context=_without_markers(row["context"]),
        activity=one_line(row["activity_label"]),
    )


def _without_markers(text: str) -> str:
    def end_heading(match: re.Match[str]) -> str:
        return f"{match[1] or '.'} " if match.start() else ""

    return one_line(_MARKER.sub(" ", _HEADING_END.sub(end_heading, text.strip())))


@register(
    name="piqa",
    cluster="commonsense",
    title="PIQA",
    task_type="multiple_choice",
    fields=("goal",),
    metrics=("accuracy",),
    dev_size=100,
    sources=(
        Source(
            "piqa",
            "piqa",
            "1.0.0",
            sizes={"train": 16_113, "validation": 1_838},
            sizes_from="TFDS piqa 1.0.0, catalog",
        ),
    ),
)
def piqa(row: Row) -> Fields | None:
    """PIQA (piqa): which of two ways to reach a goal works in the physical world.

    Row:    {"goal": "To keep a door open,", "sol1": "put a wedge under it.",
             "sol2": "put a wedge on top of it. ", "label": 0, "id": "7"}
    Fields: goal as it is: a sentence, a question, the head of a sentence or just an object;
            options are the two solutions; answer "put a wedge under it."
    """
    return choice(
        (one_line(row["sol1"]), one_line(row["sol2"])),
        row["label"],
        goal=one_line(row["goal"]),
    )


@register(
    name="story_cloze",
    cluster="commonsense",
    title="Story Cloze",
    task_type="multiple_choice",
    fields=("context",),
    metrics=("accuracy",),
    sources=(
        Source(
            "story_cloze",
            "story_cloze/2016",
            "1.0.0",
            train="validation",
            validation=None,
            test="test",
            sizes={"validation": 1_871, "test": 1_871},
            sizes_from="TFDS story_cloze 1.0.0, catalog",
            manual=STORY_CLOZE_HOW,
        ),
    ),
)
def story_cloze(row: Row) -> Fields | None:
    """Story Cloze, spring 2016 (story_cloze/2016): the right fifth sentence of a short story.

    Row:    {"context": "Max baked. He set no timer. He fell asleep. He woke to smoke.",
             "endings": ["The cake was perfect.", "The cake was burnt."], "label": 2}
    Fields: context; options are the two endings; answer "The cake was burnt.": the row
            counts its endings from 1.
    """
    label = row["label"]
    if not 1 <= label <= len(row["endings"]):
        return None
    return choice(
        [one_line(ending) for ending in row["endings"]],
        label - 1,
        context=one_line(row["context"]),
    )
