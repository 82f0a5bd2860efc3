"""Paraphrase: STS-B's rounding, undone tokenization and CSV quotes."""

import random

import numpy as np
import pytest

from flan.catalog import get_dataset, get_datasets
from flan.data.demo_rows import generator
from flan.templates import load_templates, render

NAMES = ("mrpc", "paws_wiki", "qqp", "stsb")
DEMO = [(d.name, s.tfds) for d in get_datasets(NAMES) for s in d.sources]


def scored(label):
    return {"sentence1": "A dog runs.", "sentence2": "A dog is running.", "label": label, "idx": 0}


@pytest.mark.parametrize(
    ("score", "answer"),
    [(0, "0"), (0.4, "0"), (0.5, "1"), (1.5, "2"), (2.5, "3"), (3.499, "3"), (4.5, "5"), (5, "5")],
)
def test_stsb_rounds_to_the_nearest_option_and_halves_up(score, answer):
    fields = get_dataset("stsb").to_fields(scored(score))
    assert fields.answer == answer
    assert fields.options[fields.label] == answer


@pytest.mark.parametrize(
    ("score", "reference"), [(3.2, "3.2"), (2.333, "2.333"), (3.75, "3.75"), (3.0, "3.0")]
)
def test_stsb_keeps_the_exact_score_through_float32(score, reference):
    for stored in (score, float(np.float32(score))):
        assert get_dataset("stsb").to_fields(scored(stored)).references == (reference,)


def test_stsb_references_stay_numbers_under_every_template():
    fields = get_dataset("stsb").to_fields(scored(4.0))
    for template in load_templates("stsb").forward:
        rendered = render(template, fields)
        assert rendered.references == ("4.0",)
        assert rendered.options == ("0", "1", "2", "3", "4", "5")


@pytest.mark.parametrize("score", [5.2, float("nan")])
def test_stsb_drops_an_impossible_score(score):
    assert get_dataset("stsb").to_fields(scored(score)) is None


@pytest.mark.parametrize("name", NAMES)
def test_an_unlabelled_row_is_dropped(name):
    pair = {"sentence1": "A", "sentence2": "B", "question1": "A?", "question2": "B?"}
    assert get_dataset(name).to_fields({**pair, "label": -1}) is None
    assert get_dataset(name).to_fields({**pair, "label": 1}).label == 1


@pytest.mark.parametrize("name", ["mrpc", "paws_wiki"])
def test_tokenized_pairs_become_plain_text(name):
    row = {
        "sentence1": "It was called `` Rovers '' ( until 1908 ) .",
        "sentence2": "Until 1908 , it was called Leeds ' `` Rovers '' .",
        "label": 1,
    }
    fields = get_dataset(name).to_fields(row)
    assert fields.values["sentence1"] == 'It was called "Rovers" (until 1908).'
    assert fields.values["sentence2"] == 'Until 1908, it was called Leeds\' "Rovers".'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"What does ""lorem"" mean?"', 'What does "lorem" mean?'),
        ('What does "lorem" mean?', 'What does "lorem" mean?'),
        ('"Lorem" or "ipsum"', '"Lorem" or "ipsum"'),
    ],
)
def test_qqp_loses_csv_quotes_only(text, expected):
    row = {"question1": text, "question2": "What?", "label": 0, "idx": 0}
    assert get_dataset("qqp").to_fields(row).values["question1"] == expected


def test_stsb_is_freed_of_damage():
    row = {
        "sentence1": "He said  ''no'' .",
        "sentence2": "&gt;Cuba's or Stalloneâ€™s",
        "label": 1.0,
    }
    values = get_dataset("stsb").to_fields(row).values
    assert values == {"sentence1": 'He said "no" .', "sentence2": ">Cuba's or Stallone’s"}


@pytest.mark.parametrize(("name", "tfds"), DEMO)
def test_demo_rows_become_fields_with_each_answer(name, tfds):
    dataset = get_dataset(name)
    fields = [
        dataset.to_fields(row) for row in generator("paraphrase", tfds)(random.Random(3), 300)
    ]
    assert None not in fields
    counts = [sum(f.label == label for f in fields) for label in range(len(dataset.options))]
    assert min(counts) > 0.7 * 300 / len(counts)
    assert len({tuple(f.values.values()) for f in fields}) > 250


def test_demo_scores_count_the_words_in_common():
    for row in generator("paraphrase", "glue/stsb")(random.Random(4), 200):
        common = set(row["sentence1"].strip(".").replace(",", "").split()) & set(
            row["sentence2"].strip(".").replace(",", "").split()
        )
        facts = common - {"takes", "the", "to", "with", "With"}
        assert len(facts) == int(get_dataset("stsb").to_fields(row).answer), row
