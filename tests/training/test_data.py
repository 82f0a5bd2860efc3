"""A run's data from its settings, on demo data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flan.catalog.registry import get_dataset
from flan.data.cache_plan import Request
from flan.data.prepare import prepare
from flan.data.rows import UnusableSource
from flan.data.vocabulary import load_vocabulary
from flan.training.data import InstructionData, TextData

LENGTHS = {"inputs": 96, "targets": 16}


@pytest.fixture(scope="module")
def places(small_demo, tmp_path_factory):
    cache = tmp_path_factory.mktemp("caches")
    return {"data_dir": str(small_demo), "cache_dir": str(cache), "vocab_size": 600}


@pytest.fixture(scope="module")
def vocabulary(places):
    return instructions(places, "rte,sst2,trec").vocabulary(None)


def instructions(places, mixture, **settings):
    settings = {"feature_lengths": LENGTHS, "renderings": 2, **settings}
    return InstructionData(mixture=mixture, **places, **settings)


def open_(data, vocabulary, steps=10, host=0, hosts=1, seed=0):
    return data.open(vocabulary, 4, steps, seed, host, hosts)


def segments(batch):
    """(inputs, targets) token lists of each example of a batch, EOS tokens included."""
    found = []
    for row in range(len(batch.tokens)):
        for segment in range(1, batch.segment_ids[row].max() + 1):
            place = batch.segment_ids[row] == segment
            ids, loss = batch.targets[row][place], batch.loss_weights[row][place] > 0
            found.append((ids[~loss].tolist(), ids[loss].tolist()))
    return found


def test_examples_are_the_datasets_own(places, vocabulary):
    words = load_vocabulary(vocabulary)
    data = open_(instructions(places, "flan_rte_t0"), vocabulary)
    assert data.length == 112
    answers = set()
    for inputs, targets in segments(data.batch(0)):
        assert inputs[-1] == targets[-1] == words.eos_id
        answers.add(words.decode(targets[:-1]))
    assert answers <= set(get_dataset("rte").options)


def test_the_vocabulary_is_trained_once_and_a_given_one_is_used(places, vocabulary, tmp_path):
    assert instructions(places, "rte,sst2,trec").vocabulary(None) == vocabulary
    assert load_vocabulary(vocabulary).vocab_size <= 600
    assert instructions(places, "rte").vocabulary(str(vocabulary)) == vocabulary
    with pytest.raises(FileNotFoundError, match="no vocabulary at"):
        instructions(places, "rte").vocabulary(str(tmp_path / "none"))


def test_opening_again_gives_the_same_batches_and_another_seed_others(places, vocabulary):
    first = open_(instructions(places, "rte,sst2"), vocabulary)
    again = open_(instructions(places, "rte,sst2"), vocabulary, steps=20)
    other = open_(instructions(places, "rte,sst2"), vocabulary, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    for step in (0, 9):
        assert np.array_equal(first.batch(step).tokens, again.batch(step).tokens)
    assert not np.array_equal(first.batch(0).tokens, other.batch(0).tokens)


@pytest.mark.parametrize("kind", ["instructions", "text"])
def test_hosts_read_their_rows_of_one_batch(places, vocabulary, kind):
    data = (
        instructions(places, "rte,trec")
        if kind == "instructions"
        else TextData(datasets="rte,trec", feature_lengths=LENGTHS, **places)
    )
    whole = open_(data, vocabulary)
    parts = [open_(data, vocabulary, host=host, hosts=2) for host in range(2)]
    assert {part.fingerprint for part in parts} == {whole.fingerprint}
    joined = np.concatenate([part.batch(3).tokens for part in parts])
    assert np.array_equal(whole.batch(3).tokens, joined)


def test_left_out_datasets_stand_in_the_receipt(places, vocabulary, caplog):
    with pytest.raises(UnusableSource, match="super_glue/cb"):
        open_(instructions(places, "sst2,cb,rte"), vocabulary)
    data = open_(instructions(places, "sst2,cb,rte", on_missing="skip"), vocabulary)
    rates = {line.dataset: line.rate for line in data.receipt.lines}
    assert rates == {"sst2": 48, "cb": 0, "rte": 48}
    assert list(rates) == ["sst2", "cb", "rte"]
    assert "LEFT OUT:\n- cb needs" in caplog.text
    assert "never drawn: cb" in data.receipt.table()
    # What was left out draws nothing, so the batches are those of the rest.
    rest = open_(instructions(places, "sst2,rte"), vocabulary)
    assert np.array_equal(data.batch(0).tokens, rest.batch(0).tokens)
    text = TextData(datasets="sst2,cb,rte", feature_lengths=LENGTHS, on_missing="skip", **places)
    observed = open_(text, vocabulary, steps=2).observe()
    assert [v.dataset for v in observed.lines if not v.observed] == ["cb"]


def test_a_mixture_of_missing_datasets_alone_is_refused(places, vocabulary):
    with pytest.raises(UnusableSource, match="super_glue/cb"):
        open_(instructions(places, "cb", on_missing="skip"), vocabulary)


def test_cap_and_rate_reach_the_receipt(places, vocabulary):
    data = open_(instructions(places, "rte,sst2", cap=40, rate=30), vocabulary)
    assert [(v.used, v.rate, v.kept) for v in data.receipt.lines] == [(40, 30, 40), (40, 30, 40)]
    assert json.loads(json.dumps(data.receipt.to_json()))["rate_limit"] == 30


def test_raw_text_is_all_loss_and_leaves_the_answers_out(places, vocabulary):
    words = load_vocabulary(vocabulary)
    data = open_(TextData(datasets="trec", feature_lengths=LENGTHS, **places), vocabulary)
    batch = data.batch(0)
    assert ((batch.segment_ids > 0) == (batch.loss_weights > 0)).all()
    assert data.max_targets == data.length == 112
    cached = prepare(Request(("trec",), *folders(places), splits=("train",)), workers=1)
    rows = cached.open_rows("trec", "train")["trec"]
    questions = [rows.fields(place).values["question"] for place in range(len(rows.row_ids))]
    ends = [ids for _, ids in segments(batch) if ids[-1] == words.eos_id]
    assert len(ends) > 8
    for ids in ends:  # a document may begin in another row, and ends with its question
        text = words.decode(ids[:-1])
        assert any(question.endswith(text) for question in questions), text


def folders(places):
    return Path(places["cache_dir"]), Path(places["data_dir"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mixture": "flan_rtee"}, "Did you mean 'flan_rte'"),
        ({"mixture": "flan_rte_t77"}, "unknown template of rte 't77'"),
        ({"mixture": "rte", "feature_lengths": {"inputs": 9}}, "must give 'inputs' and 'targets'"),
        ({"mixture": "rte", "feature_lengths": {"inputs": 9, "targets": "x"}}, "got {'inputs'"),
        ({"mixture": "rte", "feature_lengths": "128"}, "got '128'"),
        ({"mixture": "rte", "feature_lengths": {"inputs": 1, "targets": 9}}, "2 or more"),
        ({"mixture": "rte", "on_missing": "warn"}, "'error' or 'skip', got 'warn'"),
    ],
)
def test_impossible_settings(settings, told):
    with pytest.raises(ValueError, match=told.replace("{", r"\{")):
        InstructionData(**settings)
