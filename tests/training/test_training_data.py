"""The record of a run's training data, on demo data."""

import dataclasses

import numpy as np
import pytest

from flan.data.cache_plan import Request
from flan.data.prepare import prepare
from flan.data.row_prints import Prints, SourcePrints, prints_of, text_of
from flan.data.training_record import TrainingRows, read_record, read_rows
from flan.training.data import InstructionData, TextData
from flan.training.seqio_data import SeqioData
from flan.training.training_data import new_record


@pytest.fixture(scope="module")
def places(small_demo, tmp_path_factory):
    return {"data_dir": str(small_demo), "cache_dir": str(tmp_path_factory.mktemp("caches"))}


@pytest.fixture(scope="module")
def train_rows(places, small_demo):
    from pathlib import Path

    prepared = prepare(Request(("rte", "sst2"), Path(places["cache_dir"]), small_demo), 1)
    return prepared.open_rows("rte", "train")["rte"]


def test_datasets_rows_and_templates_are_recorded(places, train_rows):
    run, prints = InstructionData(mixture="rte,sst2", **places).reading(10, "abc")
    assert (run.data, run.mixture, run.steps, run.fingerprint) == (
        "instructions",
        "rte,sst2",
        10,
        "abc",
    )
    rte, sst2 = run.datasets
    assert (rte.dataset, rte.cluster, sst2.cluster) == ("rte", "nli", "sentiment")
    assert rte.templates == tuple(f"t{i}" for i in range(10))
    (source,) = rte.sources
    assert source.tfds.startswith("super_glue/rte:")
    assert source.rows == len(train_rows)
    assert (source.first, source.last) == (train_rows.row_ids.min(), train_rows.row_ids.max())
    known = TrainingRows.of(prints)
    assert known.look_up(prints_of(map(text_of, train_rows)))[0].all()


def test_only_what_may_be_drawn_is_recorded(places, train_rows):
    data = InstructionData(mixture="flan_rte_t3", cap=7, **places)
    run, prints = data.reading(10, "abc")
    assert run.datasets[0].templates == ("t3",)
    assert run.datasets[0].rows == 7
    known = TrainingRows.of(prints)
    exact = known.look_up(prints_of(map(text_of, train_rows)))[0]
    assert exact[:7].all()
    assert not exact.all()
    # Exemplars come from all rows that are prepared.
    shots = InstructionData(mixture="flan_rte_2shot", num_templates=3, **places)
    run, _ = shots.reading(10, "abc")
    assert run.datasets[0].templates == ("t0", "t1", "t2")
    assert run.datasets[0].rows == len(train_rows)


def test_text_and_streams_are_recorded(places, train_rows):
    run, _ = TextData(datasets="rte", **places).reading(10, "abc")
    assert (run.data, run.datasets[0].templates) == ("text", ())
    assert run.datasets[0].rows == len(train_rows)
    run, prints = SeqioData(mixture="flan_rte", **places).reading(10, "abc")
    assert (run.data, run.datasets[0].rows) == ("seqio", len(train_rows))
    assert prints
    run, prints = SeqioData(mixture="mine", modules="my_tasks").reading(10, "abc")
    assert (run.datasets, run.others, prints) == ((), ("mine",), ())


def test_a_stream_is_recorded_as_it_reads(places, monkeypatch):
    """Its cap falls on the rows found, before filters that drop some sources' rows only."""

    def rows_of(request, stream):
        for name, ids in (("train_r1", np.arange(0, 60, 2)), ("train_r2", np.arange(60))):
            identity = {"source": name, "tfds": "anli", "slice": "train[0:60]", "data": "d"}
            nothing = np.zeros((len(ids), 12), np.uint64)
            yield SourcePrints("anli", identity, 60, ids, Prints(nothing[:, 0], nothing))

    monkeypatch.setattr("flan.training.data.train_prints", rows_of)
    data = InstructionData(mixture="anli", cap=60, **places)
    rows = {
        stream: [s.rows for s in data.reading(10, "abc", stream=stream).run.datasets[0].sources]
        for stream in (False, True)
    }
    assert rows == {False: [20, 40], True: [15, 30]}


def test_a_run_keeps_its_record_and_a_longer_one_says_so(places, tmp_path, train_rows):
    reading = InstructionData(mixture="rte", **places).reading(10, "abc")
    first = new_record(tmp_path, None, reading, "data").write(tmp_path)
    rows = read_rows(tmp_path, first)
    assert np.array_equal(rows.rows, np.unique(prints_of(map(text_of, train_rows)).rows))
    before = (tmp_path / "training_data.json").stat().st_mtime_ns
    again = new_record(tmp_path, None, reading, "data")
    assert again.rows is None
    assert again.write(tmp_path) == first
    assert (tmp_path / "training_data.json").stat().st_mtime_ns == before
    longer = reading._replace(run=dataclasses.replace(reading.run, steps=20))
    new_record(tmp_path, None, longer, "data").write(tmp_path)
    assert read_record(tmp_path).runs[0].steps == 20
    # Another run's record is not taken for this one's, nor one whose rows are gone.
    other = reading._replace(run=dataclasses.replace(reading.run, fingerprint="other"))
    assert new_record(tmp_path, None, other, "data").rows is not None
    (tmp_path / "training_rows.npz").unlink()
    assert new_record(tmp_path, None, longer, "data").rows is not None


def test_data_of_which_nothing_is_known(tmp_path):
    made = new_record(tmp_path, None, None, "the data of run").write(tmp_path)
    assert made.unknown == ("what the data of run consists of",)
    run = SeqioData(mixture="mine", modules="my_tasks").reading(10, "abc")
    assert new_record(tmp_path / "b", None, run, "").record.unknown == ("what mine consists of",)
