"""Dev rows as examples: which rows, which templates, which answers."""

from __future__ import annotations

import numpy as np
import pytest

from flan.data.cache_plan import Request
from flan.data.dev_examples import dev_examples
from flan.data.prepare import prepare
from flan.data.vocabulary import load_vocabulary
from flan.data.vocabulary_training import ensure_vocabulary

NAMES = ("rte", "trec")


@pytest.fixture(scope="module")
def prepared(small_demo, tmp_path_factory):
    request = Request(NAMES, tmp_path_factory.mktemp("caches"), small_demo, splits=("train", "dev"))
    return prepare(request, workers=1)


@pytest.fixture(scope="module")
def vocabulary(small_demo, tmp_path_factory):
    folder = ensure_vocabulary(NAMES, tmp_path_factory.mktemp("words"), small_demo, 400)
    return load_vocabulary(folder)


def make(prepared, vocabulary, rendering="instructions", **settings):
    return dev_examples(
        prepared,
        NAMES,
        vocabulary,
        **{
            "rendering": rendering,
            "template": None,
            "input_length": 256,
            "target_length": 32,
            "limit": 6,
            "seed": 0,
            **settings,
        },
    )


def texts(examples, vocabulary, row):
    """Input and answers of a row."""
    places = range(row.first, row.first + row.count)
    middle = [examples.input_lengths[p] for p in places]
    halves = [
        (examples.tokens[p][:m], examples.tokens[p][m:])
        for p, m in zip(places, middle, strict=True)
    ]
    inputs = {vocabulary.decode(x.tolist()) for x, _ in halves}
    assert len(inputs) == 1
    return inputs.pop(), [vocabulary.decode(y.tolist()) for _, y in halves]


def test_each_option_of_a_dev_row_is_an_example(prepared, vocabulary):
    examples = make(prepared, vocabulary)
    assert [row.dataset for row in examples.rows] == ["rte"] * 6 + ["trec"] * 6
    ranked = [row for row in examples.rows if row.count > 1]
    assert ranked
    for row in ranked:
        text, answers = texts(examples, vocabulary, row)
        assert len(set(answers)) == row.count
        assert 0 <= row.right < row.count
        assert text
    again = make(prepared, vocabulary)
    assert all(map(np.array_equal, examples.tokens, again.tokens))


def test_few_shot_rows_have_exemplars_from_training(prepared, vocabulary):
    plain, shots = (
        make(prepared, vocabulary, rendering, input_length=1000)
        for rendering in ("instructions", "instructions_2shot")
    )
    assert shots.input_lengths.mean() > 1.5 * plain.input_lengths.mean()


def test_raw_text_has_loss_everywhere_and_one_example_a_row(prepared, vocabulary):
    examples = make(prepared, vocabulary, "text")
    assert not examples.input_lengths.any()
    assert {row.count for row in examples.rows} == {1}


def test_a_run_on_an_inverted_template_has_nothing_to_score(prepared, vocabulary):
    from flan.templates.load import load_templates

    (inverted, *_) = [t.id for t in load_templates("rte").templates if t.kind == "inverted"]
    assert (
        dev_examples(
            prepared,
            ("rte",),
            vocabulary,
            rendering="instructions",
            template=inverted,
            input_length=256,
            target_length=32,
            limit=6,
            seed=0,
        )
        is None
    )
