"""Reading TFDS rows, and what is said where they cannot be read."""

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path

import pytest

from flan.catalog.dataset import Source
from flan.catalog.registry import get_dataset
from flan.data.doctor import diagnose_source
from flan.data.row_cache import RowCache
from flan.data.rows import SourceReader, UnusableSource, prepare_rows
from flan.data.tfds_folder import PreparedSource

RTE = get_dataset("rte")


@pytest.fixture
def copy(demo_data_dir, tmp_path):
    """A data folder with RTE alone, to be damaged."""
    shutil.copytree(demo_data_dir / "super_glue", tmp_path / "data" / "super_glue")
    return tmp_path / "data"


def rte_reader(data_dir, **options):
    return SourceReader(data_dir, RTE, RTE.sources[0], **options)


def test_splits_come_from_the_sizes_on_disk(demo_data_dir):
    plan = rte_reader(demo_data_dir).plan
    assert {k: v.tfds for k, v in plan.items()} == {
        "train": "train[0:48]",
        "dev": "train[48:60]",
        "test": "validation[0:20]",
    }
    assert rte_reader(demo_data_dir, cap=10).plan["train"].tfds == "train[0:10]"


def test_rows_carry_their_numbers(demo_data_dir):
    reader = rte_reader(demo_data_dir)
    dev = list(reader.rows("dev"))
    assert [row_id for row_id, _ in dev] == list(range(48, 60))
    assert [row["idx"] for _, row in dev] == [row_id for row_id, _ in dev]
    assert {type(v) for _, row in dev for v in row.values()} == {str, int}


def test_fields_are_those_of_to_fields(demo_data_dir):
    reader = rte_reader(demo_data_dir)
    for (_, row), (_, fields) in zip(reader.rows("test"), reader.fields("test"), strict=True):
        assert fields == RTE.to_fields(row)


def test_several_shards_are_one_split(copy):
    import tensorflow_datasets as tfds

    folder = copy / "super_glue/rte/1.0.2"
    file = folder / "super_glue-train.tfrecord-00000-of-00001"
    data, cut = file.read_bytes(), 0
    for _ in range(25):
        cut += 16 + int.from_bytes(data[cut : cut + 8], "little")
    (folder / "super_glue-train.tfrecord-00000-of-00002").write_bytes(data[:cut])
    (folder / "super_glue-train.tfrecord-00001-of-00002").write_bytes(data[cut:])
    before = dict(rte_reader(copy).rows("train"))
    file.unlink()
    info = json.loads((folder / "dataset_info.json").read_text())
    for split in info["splits"]:
        if split["name"] == "train":
            split["shardLengths"] = ["25", "35"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    reader = rte_reader(copy)
    assert [(p.start, p.stop, p.row_id) for p in reader.parts("train")] == [(0, 25, 0), (0, 23, 25)]
    assert [(p.start, p.stop, p.row_id) for p in reader.parts("dev")] == [(23, 35, 48)]
    assert dict(reader.rows("train")) == before
    theirs = tfds.builder_from_directory(folder).info.splits["train[0:48]"].file_instructions
    assert [(f.skip, f.examples_in_shard) for f in theirs] == [(0, 25), (0, 35)]


def test_no_data_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data folder at .*nowhere.*flan demo"):
        rte_reader(tmp_path / "nowhere")


def test_a_dataset_that_is_not_there(tmp_path):
    with pytest.raises(UnusableSource, match=r"rte needs super_glue/rte:1\.0\.2.*tfds build"):
        rte_reader(tmp_path)


def test_a_dataset_that_is_fetched_by_hand(tmp_path):
    newsroom = get_dataset("newsroom")
    with pytest.raises(UnusableSource) as error:
        SourceReader(tmp_path, newsroom, newsroom.sources[0])
    assert newsroom.sources[0].manual in str(error.value)


def test_another_version(copy):
    rte = copy / "super_glue/rte"
    (rte / "1.0.2").rename(rte / "1.0.3")
    with pytest.raises(UnusableSource, match=r"wrong version.*found 1\.0\.3, needs 1\.0\.2"):
        rte_reader(copy)


def test_a_split_that_is_not_there(copy):
    info = copy / "super_glue/rte/1.0.2/dataset_info.json"
    content = json.loads(info.read_text())
    content["splits"] = [s for s in content["splits"] if s["name"] != "validation"]
    info.write_text(json.dumps(content))
    with pytest.raises(UnusableSource, match="has no split 'validation'; it has"):
        rte_reader(copy)


def test_other_file_formats(copy):
    folder = copy / "super_glue/rte/1.0.2"
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "array_record"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for file in folder.glob("*.tfrecord*"):
        file.rename(str(file).replace("tfrecord", "array_record"))
    with pytest.raises(UnusableSource, match="--file_format=tfrecord"):
        rte_reader(copy)


def test_fewer_rows_than_promised(copy):
    info = copy / "super_glue/rte/1.0.2/dataset_info.json"
    info.write_text(info.read_text().replace('"60"', '"70"'))
    reader = rte_reader(copy)
    assert len(list(reader.rows("train"))) == 56
    with pytest.raises(ValueError, match=r"has 60 records, where dataset_info.json promises 70"):
        list(reader.rows("dev"))


def test_more_rows_than_promised(copy):
    info = copy / "super_glue/rte/1.0.2/dataset_info.json"
    info.write_text(info.read_text().replace('"60"', '"50"'))
    reader = rte_reader(copy)
    with pytest.raises(ValueError, match=r"more than 50 records, where dataset_info.json promises"):
        list(reader.rows("dev"))


def test_a_truncated_file(copy):
    file = copy / "super_glue/rte/1.0.2/super_glue-train.tfrecord-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"train\.tfrecord.*record 59 is damaged or cut off"):
        list(rte_reader(copy).rows("dev"))


def test_a_failing_to_fields_names_the_row(demo_data_dir, tmp_path):
    def fails(row):
        if row["idx"] == 50:
            raise KeyError("hypotheses")
        return RTE.to_fields(row)

    reader = SourceReader(demo_data_dir, dataclasses.replace(RTE, to_fields=fails), RTE.sources[0])
    message = r"rte: to_fields fails on row 50 of super_glue/rte:1\.0\.2 \(rte, dev\): KeyError"
    with pytest.raises(ValueError, match=message):
        prepare_rows(reader, "dev", tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_undeclared_values_are_noticed(demo_data_dir):
    wrong = dataclasses.replace(RTE, fields=("premise", "claim"))
    reader = SourceReader(demo_data_dir, wrong, RTE.sources[0])
    with pytest.raises(ValueError, match=r"row 0 .*the dataset declares \['claim', 'premise'\]"):
        list(reader.fields("train"))


def test_prepared_rows_are_counted_and_read_back(demo_data_dir, tmp_path):
    def some(row):
        return RTE.to_fields(row) if row["idx"] % 3 else None

    reader = SourceReader(demo_data_dir, dataclasses.replace(RTE, to_fields=some), RTE.sources[0])
    reported = []
    path = prepare_rows(reader, "train", tmp_path, reported.append)
    assert path.parent == tmp_path / "rows" / "rte"
    cache = RowCache.open(path)
    assert {k: cache.manifest[k] for k in ("found", "kept", "dropped")} == {
        "found": 48,
        "kept": 32,
        "dropped": 16,
    }
    assert sum(reported) == 48
    kept = [(i, f) for i, f in reader.fields("train") if f is not None]
    assert list(zip(cache.row_ids.tolist(), cache, strict=True)) == kept


def test_rows_that_are_prepared_are_not_read_again(demo_data_dir, tmp_path, monkeypatch):
    reader = rte_reader(demo_data_dir)
    path = prepare_rows(reader, "test", tmp_path)
    monkeypatch.setattr(reader, "fields", None)
    assert prepare_rows(reader, "test", tmp_path) == path


def test_other_rows_another_cache(demo_data_dir, copy, tmp_path):
    from flan.data.demo import write_demo

    shutil.rmtree(copy)
    write_demo(copy, ["rte"], train_rows=60, eval_rows=20, seed=1)
    one, other = rte_reader(demo_data_dir), rte_reader(copy)
    assert one.identity("test") != other.identity("test")
    assert prepare_rows(one, "test", tmp_path) != prepare_rows(other, "test", tmp_path)


def test_the_same_number_of_other_rows_is_another_cache(copy, demo_data_dir):
    """Labels changed in place: sizes, counts and descriptions stay as they are."""
    folder = copy / "super_glue/rte/1.0.2"
    os.utime(folder / "dataset_info.json", (1, 1))
    copied = rte_reader(copy).fingerprint
    assert copied == rte_reader(demo_data_dir).fingerprint
    for name in ("super_glue-validation.tfrecord-00000-of-00001", "features.json"):
        content = (folder / name).read_bytes()
        # The last byte of a file with rows is one of a checksum, of JSON white space.
        changed = content[:-1] + bytes([content[-1] ^ 1]) if name[0] == "s" else content + b" "
        (folder / name).write_bytes(changed)
        assert rte_reader(copy).fingerprint != copied
        (folder / name).write_bytes(content)
    assert rte_reader(copy).fingerprint == copied


@pytest.mark.parametrize(
    ("place", "seen"), [(0, True), (-1, True), ((1 << 16) - 1, True), (1 << 19, False)]
)
def test_large_shards_count_by_their_ends(tmp_path, place, seen):
    for name in ("dataset_info.json", "features.json"):
        (tmp_path / name).write_text("{}")
    source = PreparedSource(tmp_path, {"train": 1}, (), {"train": (("a", 1),)})
    content = bytearray((1 << 20) + 1)
    (tmp_path / "a").write_bytes(content)
    before = source.fingerprint(["train"])
    assert source.fingerprint([]) != before
    content[place] = 1
    (tmp_path / "a").write_bytes(content)
    assert (source.fingerprint(["train"]) != before) == seen


@pytest.mark.real_data
@pytest.mark.skipif("FLAN_REAL_DATA" not in os.environ, reason="FLAN_REAL_DATA is not set")
def test_real_rows_of_every_dataset_become_fields():
    from flan.catalog.clusters import EXTRA, all_datasets

    data_dir = Path(os.environ["FLAN_REAL_DATA"])
    readable = 0
    for name in (*all_datasets(), *EXTRA):
        dataset = get_dataset(name)
        for source in dataset.sources:
            if not (data_dir / source.tfds / source.version).is_dir():
                assert diagnose_source(data_dir, dataset, source).state != "ready"
                continue
            reader = SourceReader(data_dir, dataset, source)
            kept = {
                split: sum(f is not None for _, f in itertools.islice(reader.fields(split), 100))
                for split, piece in reader.plan.items()
                if piece
            }
            assert all(kept.values()), (name, source.name, kept)
            readable += 1
    assert readable >= 60


def test_source_without_train_has_no_train_parts(demo_data_dir):
    assert isinstance(RTE.sources[0], Source)
    only = dataclasses.replace(RTE.sources[0], train=None)
    reader = SourceReader(demo_data_dir, RTE, only)
    assert reader.parts("train") == []
    assert list(reader.rows("train")) == []
