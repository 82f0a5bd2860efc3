"""Demo data are read like the real thing."""

import random

import pytest
import seqio
import tensorflow_datasets as tfds

from flan.catalog.registry import get_datasets
from flan.data import demo, demo_rows
from flan.data.demo import read_stamp, write_demo
from flan.data.doctor import diagnose
from flan.data.rows import SourceReader


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    write_demo(out, ["rte"], train_rows=60, eval_rows=20)
    return out


def test_tfds_reads_it_like_the_real_thing(data_dir):
    rows, info = tfds.load(
        "super_glue/rte:1.0.2", data_dir=data_dir, download=False, with_info=True
    )
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        "train": 60,
        "validation": 20,
        "test": 20,
    }
    assert (info.full_name, info.config_name) == ("super_glue/rte/1.0.2", "rte")
    train = list(tfds.as_numpy(rows["train"]))
    assert len(train) == 60
    assert {int(r["label"]) for r in train} == {0, 1}
    assert {int(r["label"]) for r in tfds.as_numpy(rows["test"])} == {-1}
    sliced = tfds.load("super_glue/rte", data_dir=data_dir, download=False, split="train[50:60]")
    assert len(list(sliced)) == 10


def test_seqio_reads_it(data_dir):
    source = seqio.TfdsDataSource("super_glue/rte:1.0.2", tfds_data_dir=str(data_dir))
    assert source.num_input_examples("train") == 60
    assert len(list(source.get_dataset("validation", shuffle=False))) == 20


def test_rows_are_the_generator_s(data_dir):
    builder = tfds.builder_from_directory(data_dir / "super_glue/rte/1.0.2")
    read = [
        {k: v.decode() if isinstance(v, bytes) else int(v) for k, v in row.items()}
        for row in tfds.as_numpy(builder.as_dataset(split="train"))
    ]
    generate = demo_rows.generator("nli", "super_glue/rte")
    assert read == generate(random.Random("0/super_glue/rte/train"), 120)[:60]


def test_no_example_is_in_two_splits(data_dir):
    splits = tfds.load("super_glue/rte", data_dir=data_dir, download=False)
    texts = [
        {(r["premise"], r["hypothesis"]) for r in tfds.as_numpy(split)} for split in splits.values()
    ]
    assert len(set.union(*texts)) == sum(map(len, texts))


def test_the_same_seed_gives_the_same_bytes(data_dir, tmp_path):
    write_demo(tmp_path / "same", ["rte"], train_rows=60, eval_rows=20)
    assert contents(tmp_path / "same") == contents(data_dir)
    write_demo(tmp_path / "other", ["rte"], train_rows=60, eval_rows=20, seed=1)
    assert contents(tmp_path / "other") != contents(data_dir)


def test_what_is_there_is_left_as_it_is(data_dir, monkeypatch):
    def fail(*args):
        raise AssertionError("wrote again")

    monkeypatch.setattr(demo, "_write", fail)
    (folder,) = write_demo(data_dir, ["rte"], train_rows=60, eval_rows=20)
    assert folder == data_dir / "super_glue/rte/1.0.2"


def test_demo_data_of_another_making_is_replaced(tmp_path):
    write_demo(tmp_path, ["rte"], train_rows=10, eval_rows=5)
    write_demo(tmp_path, ["rte"], train_rows=12, eval_rows=5)
    assert read_stamp(tmp_path / "super_glue/rte/1.0.2")["sizes"] == {"train": 12, "validation": 5}
    assert [p.name for p in (tmp_path / "super_glue/rte").iterdir()] == ["1.0.2"]


def test_real_data_are_never_touched(tmp_path):
    real = tmp_path / "super_glue/rte/1.0.2"
    real.mkdir(parents=True)
    (real / "dataset_info.json").write_text("{}")
    write_demo(tmp_path, ["rte"])
    assert contents(real) == {"dataset_info.json": b"{}"}


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flan.data.atomic.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        write_demo(tmp_path, ["rte"], train_rows=10, eval_rows=5)
    assert contents(tmp_path) == {}


def test_bad_rows_name_the_row(tmp_path, monkeypatch):
    def bad(rng, count):
        return [{"premise": 7, "hypothesis": "x", "label": 0, "idx": i} for i in range(count)]

    monkeypatch.setattr(demo_rows, "generator", lambda cluster, tfds: bad)
    with pytest.raises(
        ValueError, match=r"demo row 0 of super_glue/rte:1\.0\.2 train does not fit"
    ):
        write_demo(tmp_path, ["rte"])
    assert contents(tmp_path) == {}


def test_no_generator_is_said_before_anything_is_written(tmp_path, monkeypatch):
    def missing(cluster, tfds):
        raise KeyError(tfds)

    monkeypatch.setattr(demo_rows, "generator", missing)
    with pytest.raises(ValueError, match="no demo rows for super_glue/rte of rte"):
        write_demo(tmp_path, ["rte"])
    assert not any(tmp_path.iterdir())


def test_unknown_names_suggest_near_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown dataset or cluster 'rtee'.*'rte'"):
        write_demo(tmp_path, ["rtee"])


@pytest.fixture(scope="module")
def all_data_dir(tmp_path_factory):
    out = tmp_path_factory.mktemp("all_demo")
    write_demo(out, ["all", "extra"], train_rows=10, eval_rows=5)
    return out


def test_every_dataset_has_demo_data_that_can_be_used(all_data_dir):
    assert {d.state for d in diagnose(all_data_dir, ["all", "extra"])} == {"ready"}
    for dataset in get_datasets(["all", "extra"]):
        for source in dataset.sources:
            reader = SourceReader(all_data_dir, dataset, source)
            for split, piece in reader.plan.items():
                kept = [fields for _, fields in reader.fields(split) if fields is not None]
                assert bool(kept) == bool(piece), (dataset.name, source.name, split)


@pytest.mark.real_data
def test_the_format_is_that_of_the_real_data(all_data_dir, real_data):
    compared = 0
    for features in all_data_dir.rglob("features.json"):
        path = features.relative_to(all_data_dir)
        if (real_data / path).is_file():
            assert features.read_bytes() == (real_data / path).read_bytes()
            compared += 1
    assert compared >= 60
