import random

import pytest

from flan.catalog.commonsense import copa, hellaswag, piqa, story_cloze
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import commonsense as demo

COPA = {
    "premise": "The pond froze over.",
    "question": "cause",
    "choice1": "The night was very cold.",
    "choice2": "Children skated on it.",
    "label": 0,
    "idx": 0,
}


def test_copa_words_the_relation_three_ways():
    cause = copa(COPA).values
    effect = copa({**COPA, "question": "effect"}).values
    assert (cause["relation"], cause["link"]) == ("cause", "because")
    assert (effect["relation"], effect["link"]) == ("effect", "so")
    assert cause["question"] != effect["question"]
    assert cause["opening"] == "The pond froze over"


def test_unlabelled_copa_row_is_dropped():
    assert copa({**COPA, "label": -1}) is None


HELLASWAG = {
    "context": "[header] How to peel an egg [title] Cool it. [step] Use cold water.",
    "endings": ["Then crack it.", "Eat the shell.", "[substeps] Boil it.", "Paint [sic] it. "],
    "label": 0,
    "activity_label": "Food",
    "source_id": "wikihow~1",
    "split_type": "indomain",
}


def test_hellaswag_turns_markers_into_sentences():
    fields = hellaswag(HELLASWAG)
    assert fields.values["context"] == "How to peel an egg. Cool it. Use cold water."
    assert fields.options == ("Then crack it.", "Eat the shell.", "Boil it.", "Paint [sic] it.")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("[title] Start at the top.", "Start at the top."),
        ("Is it ready? [title] Look at it. [step] Yes.", "Is it ready? Look at it. Yes."),
        ("Three men run. one man", "Three men run. one man"),
    ],
)
def test_hellaswag_headings(text, clean):
    assert hellaswag({**HELLASWAG, "context": text}).values["context"] == clean


def test_unlabelled_hellaswag_row_is_dropped():
    assert hellaswag({**HELLASWAG, "label": -1}) is None


def test_piqa_options_are_trimmed():
    row = {
        "goal": "shirt ",
        "sol1": "can be worn ",
        "sol2": "can  be\neaten",
        "label": 0,
        "id": "1",
    }
    fields = piqa(row)
    assert fields.options == ("can be worn", "can be eaten")
    assert fields.values["goal"] == "shirt"


def test_story_cloze_counts_endings_from_one():
    row = {"context": "Max baked.", "endings": ["It was raw.", "It was good."], "label": 2}
    assert story_cloze(row).answer == "It was good."
    assert story_cloze({**row, "label": 1}).answer == "It was raw."
    assert story_cloze({**row, "label": -1}) is None
    assert story_cloze({**row, "label": 0}) is None
    assert story_cloze({**row, "label": 3}) is None


def test_story_cloze_trains_on_the_validation_split():
    (source,) = get_dataset("story_cloze").sources
    assert (source.train, source.validation, source.test) == ("validation", None, "test")
    assert "rochester" in source.manual


@pytest.mark.parametrize("dataset", ["copa", "hellaswag", "piqa", "story_cloze"])
def test_demo_rows_have_fields_and_unbiased_labels(dataset):
    entry = get_dataset(dataset)
    for source in entry.sources:
        rows = demo.GENERATORS[source.tfds](random.Random(7), 400)
        found = [entry.to_fields(row) for row in rows]
        assert all(found)
        assert all(len(set(f.options)) == len(f.options) for f in found)
        width = len(found[0].options)
        shares = [sum(f.label == i for f in found) / len(found) for i in range(width)]
        assert min(shares) > 0.6 / width
