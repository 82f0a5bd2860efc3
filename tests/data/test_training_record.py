"""Records of training data on disk, and what they say of evaluated datasets."""

import json

import pytest

from flan.catalog import clusters
from flan.data import training_record
from flan.data.leaks import SeenInTraining, find_leaks, refuse
from flan.data.row_prints import prints_of
from flan.data.training_record import (
    RECORD_FILE,
    ROWS_FILE,
    ReadDataset,
    ReadRun,
    ReadSource,
    TrainingRecord,
    TrainingRows,
    read_record,
    read_rows,
    write_record,
)


def run(names, data="instructions", rows=9):
    read = [
        ReadDataset(
            name,
            clusters.cluster_of(name),
            ("t0", "t1"),
            (ReadSource(name, f"{name}:1.0.0", "train[0:9]", rows, 0, 8, "ab", "cd"),),
        )
        for name in names
    ]
    return ReadRun(data, ",".join(names), "instructions", 10, "ef", tuple(read))


def record(*runs):
    return TrainingRecord(runs)


def test_it_comes_back_as_it_was_written(tmp_path):
    rows = TrainingRows.of([prints_of(["one two three", "four " * 9])])
    written = write_record(tmp_path, record(run(["rte"], "text"), run(["sst2"])), rows)
    assert read_record(tmp_path) == written
    assert TrainingRecord.from_json(json.loads(json.dumps(written.to_json()))) == written
    found = read_rows(tmp_path, written)
    assert [part.tolist() for part in found] == [part.tolist() for part in rows]
    assert read_record(tmp_path / "none") is None


def test_prints_of_another_version_are_not_compared(tmp_path, monkeypatch):
    rows = TrainingRows.of([prints_of(["one two three"])])
    monkeypatch.setattr(training_record, "VERSION", 2)
    written = write_record(tmp_path, record(run(["rte"])), rows)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="prints of version 2"):
        read_rows(tmp_path, written)


@pytest.mark.parametrize(
    "damage",
    [
        lambda v: [],
        lambda v: {**v, "format": "other"},
        lambda v: {**v, "runs": {}},
        lambda v: {**v, "unknown": [3]},
        lambda v: {**v, "runs": [{**v["runs"][0], "steps": "many"}]},
        lambda v: {**v, "runs": [{**v["runs"][0], "more": 1}]},
        lambda v: {**v, "runs": [{**v["runs"][0], "datasets": [{"dataset": "rte"}]}]},
        lambda v: {**v, "rows_sha256": None},
    ],
)
def test_a_damaged_record_is_refused(tmp_path, damage):
    value = record(run(["rte"])).to_json()
    (tmp_path / RECORD_FILE).write_text(json.dumps(damage(value)))
    with pytest.raises(ValueError, match=RECORD_FILE):
        read_record(tmp_path)


def test_rows_of_another_record_are_refused(tmp_path):
    written = write_record(tmp_path, record(run(["rte"])), TrainingRows.of([prints_of(["a b"])]))
    path = tmp_path / ROWS_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=ROWS_FILE):
        read_rows(tmp_path, written)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="copy it"):
        read_rows(tmp_path, written)


@pytest.mark.parametrize("cluster", clusters.CLUSTERS)
def test_leave_one_out_is_clean_and_any_held_out_dataset_that_slips_in_is_named(cluster):
    evaluated = clusters.cluster_datasets(cluster)
    honest = clusters.training_datasets(cluster)
    assert not find_leaks(record(run(honest, "text"), run(honest)), evaluated)
    for dropped in clusters.dropped_clusters(cluster):
        slipped = clusters.cluster_datasets(dropped)[0]
        leaks = find_leaks(record(run([*honest, slipped])), evaluated)
        assert set(leaks) == set(evaluated)
        with pytest.raises(SeenInTraining) as told:
            refuse("the model", leaks, "")
        assert slipped in str(told.value)
        assert cluster in str(told.value)
        assert ("overlaps" in str(told.value)) == (dropped != cluster)


def test_how_it_was_read_is_told():
    (leak,) = find_leaks(record(run(["rte"], "text")), ["cb"])["cb"]
    assert "raw text" in str(leak)
    (leak,) = find_leaks(record(run(["rte"], "text"), run(["rte"])), ["rte"])["rte"]
    assert "raw text" not in str(leak)
    assert "the very dataset" in str(leak)


def test_a_dataset_without_rows_was_not_read():
    assert not find_leaks(record(run(["rte"], rows=0)), ["rte"])
    assert not find_leaks(None, ["rte"])
