import random

import pytest

from flan.catalog.coreference import mark_pronoun
from flan.catalog.registry import get_dataset
from flan.data.demo_rows import generator


def test_a_single_pronoun_is_not_marked():
    assert mark_pronoun("Ann says the item is hers; it broke.", "it") == (
        "Ann says the item is hers; it broke."
    )


def test_the_nearest_of_several_pronouns_is_marked():
    text = "He said that he knew him, and he left."
    assert mark_pronoun(text, "he", 3).split()[3] == "*he*"
    assert mark_pronoun(text, "he", 8) == "He said that he knew him, and *he* left."
    assert mark_pronoun(text, "he") == "*He* said that he knew him, and he left."


@pytest.mark.parametrize(
    ("sentence", "candidates"),
    [
        ("The dogs saw that *they* chased cats.", ("The dogs", "the mice")),
        ("The browser says they beat the app, but *they* lie.", ("The browser", "the app")),
        (
            "The workers heard they left the firm because *they* cost a lot.",
            ("The workers", "the firm"),
        ),
        (
            "The priests read to the witches they found, since *they* feared God.",
            ("The priests", "the witches"),
        ),
        ("The fans love the Owls, and *they* sing since they win.", ("The fans", "the Owls")),
        ("Kim told Jo that *they* saw what they wanted.", ("Kim", "Jo")),
    ],
)
def test_the_pronoun_after_both_candidates_is_meant(sentence, candidates):
    row = {"sentence": sentence.replace("*", ""), "pronoun": "they", "label": 0}
    fields = get_dataset("definite_pronoun_resolution").to_fields(row | {"candidates": candidates})
    marked = sentence if row["sentence"].count("they") > 1 else row["sentence"]
    assert fields.values["sentence"] == marked


def test_padding_goes_and_rows_without_the_pronoun_are_dropped():
    row = {
        "sentence": " Ann met\nSue and she won. ",
        "pronoun": " she",
        "candidates": ["Ann ", "Sue"],
    }
    dpr = get_dataset("definite_pronoun_resolution")
    fields = dpr.to_fields(row | {"label": 0})
    assert fields.values == {"sentence": "Ann met Sue and she won.", "pronoun": "she"}
    assert fields.options == ("Ann", "Sue")
    assert dpr.to_fields(row | {"label": 0, "pronoun": "he"}) is None
    assert dpr.to_fields(row | {"label": 0, "pronoun": " "}) is None
    wsc = get_dataset("wsc")
    assert wsc.to_fields(wsc273_row(0, 0) | {"pronoun_text": " he "}).values["pronoun"] == "he"
    assert wsc.to_fields(wsc273_row(0, 0) | {"pronoun_text": "she"}) is None
    assert wsc.to_fields(wsc273_row(0, -1)) is None


def test_first_pronoun_of_the_clause_is_meant_in_definite_pronoun_resolution():
    row = {
        "sentence": "The dogs chased the cats because they knew they were fast.",
        "pronoun": "they",
        "candidates": ["The dogs", "the cats"],
        "label": 0,
    }
    fields = get_dataset("definite_pronoun_resolution").to_fields(row)
    assert fields.values["sentence"].endswith("because *they* knew they were fast.")
    assert (fields.options, fields.answer) == (("The dogs", "the cats"), "The dogs")


def test_winogrande_hidden_labels_are_dropped():
    row = {"sentence": "The _ is big.", "option1": "cup", "option2": "box", "label": 1}
    assert get_dataset("winogrande").to_fields(row).answer == "box"
    assert get_dataset("winogrande").to_fields(row | {"label": -1}) is None


def test_winogrande_has_a_blank_and_options_of_one_line():
    row = {"sentence": "The _ is big.", "option1": "tea\ncup ", "option2": "box", "label": 0}
    assert get_dataset("winogrande").to_fields(row).options == ("tea cup", "box")
    assert get_dataset("winogrande").to_fields(row | {"sentence": "The cup is big."}) is None


def wsc273_row(idx, label):
    return {
        "text": "Tom told Sam that he had won. Then he left.",
        "option1": "Tom",
        "option1_normalized": "Tom",
        "option2": "Sam",
        "option2_normalized": "Sam",
        "pronoun_text": "he",
        "pronoun_start": 18,
        "pronoun_end": 20,
        "label": label,
        "idx": idx,
    }


@pytest.mark.parametrize(
    ("idx", "label", "noun", "answer"),
    [
        (0, 0, "Tom", "yes"),
        (1, 1, "Tom", "no"),
        (2, 0, "Sam", "no"),
        (3, 1, "Sam", "yes"),
        (4, 0, "Tom", "yes"),
    ],
)
def test_wsc273_twins_are_asked_about_one_candidate(idx, label, noun, answer):
    fields = get_dataset("wsc").to_fields(wsc273_row(idx, label))
    assert fields.values == {
        "text": "Tom told Sam that *he* had won. Then he left.",
        "pronoun": "he",
        "noun": noun,
    }
    assert fields.answer == answer


def test_both_wsc_sources_give_the_same_fields():
    fixed = {
        "text": "Tom told Sam that he had won . Then he left .",
        "span1_text": "Sam",
        "span1_index": 2,
        "span2_text": "he",
        "span2_index": 4,
        "label": 0,
        "idx": 3,
    }
    wsc = get_dataset("wsc")
    assert wsc.to_fields(fixed) == wsc.to_fields(wsc273_row(2, 0))
    assert wsc.to_fields(fixed | {"label": -1}) is None


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("definite_pronoun_resolution", "definite_pronoun_resolution"),
        ("winogrande", "winogrande"),
        ("wsc", "wsc"),
        ("wsc", "wsc273"),
    ],
)
def test_demo_rows_pass_through_and_are_balanced(name, source):
    dataset = get_dataset(name)
    rows = generator("coreference", dataset.source(source).tfds)(random.Random(0), 2000)
    fields = [dataset.to_fields(row) for row in rows]
    assert len(fields) == 2000
    assert len({tuple(f.values.values()) for f in fields}) > 1500
    assert 800 < sum(f.label for f in fields) < 1200
    assert not any("*" in text for f in fields for text in f.values.values())
