"""Inference: label orders, unlabelled rows, one training split for both halves of MNLI."""

import random
import re

import pytest

from flan.catalog import get_dataset, get_datasets
from flan.catalog.splits import plan_dataset
from flan.data.demo_rows import generator, scenes

NAMES = ("anli", "cb", "mnli", "qnli", "rte", "snli", "wnli")
DEMO = [(d.name, s.tfds) for d in get_datasets(NAMES) for s in d.sources]
PAIR = {"premise": "It rains.", "hypothesis": "It is wet."}


@pytest.mark.parametrize("name", NAMES)
def test_an_unlabelled_row_is_dropped(name):
    row = {
        **PAIR,
        "context": "It rains.",
        "question": "Does it rain?",
        "sentence": "It rains.",
        "sentence1": "It rains.",
        "sentence2": "Rain falls.",
    }
    dataset = get_dataset(name)
    assert dataset.to_fields({**row, "label": -1}) is None
    assert dataset.to_fields({**row, "label": 0}) is not None


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("anli", {"e": "yes", "n": "can't tell", "c": "no"}),
        ("cb", {"entailment": "yes", "neutral": "can't tell", "contradiction": "no"}),
        ("mnli", {"entailment": "yes", "neutral": "can't tell", "contradiction": "no"}),
        ("snli", {"entailment": "yes", "neutral": "can't tell", "contradiction": "no"}),
        ("qnli", {"entailment": "yes", "not_entailment": "no"}),
        ("rte", {"entailment": "yes", "not_entailment": "no"}),
        ("wnli", {"entailment": "yes", "not_entailment": "no"}),
    ],
)
def test_each_option_says_what_the_builders_label_means(name, meaning):
    dataset = get_dataset(name)
    assert dict(zip(dataset.labels, dataset.options, strict=True)) == meaning


def test_contradiction_is_cbs_second_label():
    fields = get_dataset("cb").to_fields({**PAIR, "label": 1, "idx": 0})
    assert (fields.answer, fields.label) == ("no", 1)


def test_cb_text_loses_the_tokenizers_spaces():
    row = {"premise": "B: I do n't know , it 's late .", "hypothesis": "it's late", "label": 2}
    assert get_dataset("cb").to_fields(row).values["premise"] == "B: I don't know, it's late."


def test_anli_context_is_the_premise():
    row = {"uid": "u", "context": "A title<br>A passage. ", "hypothesis": "A claim", "label": 1}
    fields = get_dataset("anli").to_fields(row)
    assert fields.values == {"premise": "A title\nA passage.", "hypothesis": "A claim"}
    assert fields.answer == "can't tell"


def test_anli_tokenized_lines_read_as_written():
    row = {
        "context": "`` We 've come to fish , '' said Davy .<br>(Hangul: 이 ) -LRB- or so -RRB- .",
        "hypothesis": "Davy came.",
        "label": 0,
    }
    premise = get_dataset("anli").to_fields(row).values["premise"]
    assert premise == '"We\'ve come to fish," said Davy.\n(Hangul: 이) (or so).'


def test_mnli_and_rte_are_freed_of_damage():
    damaged = {
        "premise": " -LSB- It -RSB- was T&amp;A .",
        "hypothesis": "Medi?\u00adter?\u00adranean",
    }
    fields = get_dataset("mnli").to_fields(PAIR | damaged | {"label": 0})
    assert fields.values == {"premise": "[It] was T&A.", "hypothesis": "Mediterranean"}
    damaged = {"premise": " It cost Â£35 , all\nof it. ", "hypothesis": "Iraqâ\x80\x99s  oil"}
    fields = get_dataset("rte").to_fields(PAIR | damaged | {"label": 0})
    assert fields.values == {"premise": "It cost £35, all of it.", "hypothesis": "Iraq’s oil"}


def test_mnli_training_rows_count_once():
    dataset = get_dataset("mnli")
    plan = plan_dataset(dataset, {s.name: s.sizes for s in dataset.sources})
    assert [p["train"] is not None for p in plan.values()] == [True, False]
    assert plan["matched"]["test"].split == "validation_matched"
    assert plan["mismatched"]["test"].split == "validation_mismatched"
    assert len(plan["mismatched"]["test"]) == 9_832


@pytest.mark.parametrize(("name", "tfds"), DEMO)
def test_demo_rows_become_fields_with_each_answer(name, tfds):
    dataset = get_dataset(name)
    rows = generator("nli", tfds)(random.Random(3), 300)
    fields = [dataset.to_fields(row) for row in rows]
    assert None not in fields
    counts = [sum(f.label == label for f in fields) for label in range(len(dataset.options))]
    assert min(counts) > 0.7 * 300 / len(counts)
    assert len({tuple(f.values.values()) for f in fields}) > 250


@pytest.mark.parametrize("tfds", ["anli/r1", "anli/r2", "anli/r3", "glue/mnli", "snli"])
def test_demo_labels_follow_from_the_text(tfds):
    names = {0: "entailment", 1: "neutral", 2: "contradiction"}
    for row in generator("nli", tfds)(random.Random(4), 200):
        premise = _facts(row.get("premise", row.get("context")))
        ((slot, said),) = _facts(row["hypothesis"]).items()
        expected = (
            "neutral"
            if slot not in premise
            else "entailment"
            if premise[slot] == said
            else "contradiction"
        )
        assert names[row["label"]] == expected, row


def _facts(text):
    """Which value each slot has in a text, and whether it is denied, read off its words alone."""
    sentences = [re.findall(r"\w+", sentence) for sentence in text.split(".")]
    return {
        slot: (word, "not" in words)
        for slot, values in scenes.VALUES.items()
        for words in sentences
        for word in words
        if word in values
    }


def test_a_demo_pronoun_means_the_person_it_fits():
    for row in generator("nli", "glue/wnli")(random.Random(5), 200):
        men = ("Ben", "David", "Frank", "Henry", "Jack")
        he = " he " in row["sentence1"]
        named_is_man = row["sentence2"].split()[0] in men
        assert row["label"] == (he == named_is_man), row
