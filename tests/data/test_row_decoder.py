"""Rows are what `tfds.as_numpy` gives, as plain Python."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from flan.data.row_decoder import row_decoder
from flan.data.tfrecord import read_records

NESTED = tfds.features.FeaturesDict(
    {
        "id": np.int32,
        "score": np.float32,
        "flag": np.bool_,
        "text": tfds.features.Text(),
        "label": tfds.features.ClassLabel(num_classes=3),
        "pair": tfds.features.Translation(languages=["en", "fr"]),
        "names": tfds.features.Sequence(tfds.features.Text()),
        "spans": tfds.features.Sequence({"start": np.int32, "text": tfds.features.Text()}),
        "two": tfds.features.Sequence(np.int64, length=2),
        "grid": tfds.features.Tensor(shape=(2, 3), dtype=np.int64),
        "deep": tfds.features.Sequence(tfds.features.Sequence(tfds.features.Text())),
        "deeper": tfds.features.Sequence({"a": {"b": tfds.features.Sequence(np.float32)}}),
    }
)
ROW = {
    "id": -7,
    "score": 0.25,
    "flag": True,
    "text": "café\n",
    "label": -1,
    "pair": {"en": "yes", "fr": "oui"},
    "names": ["a", "", "b"],
    "spans": {"start": [3, 5], "text": ["x", "y"]},
    "two": [1, 2],
    "grid": [[1, 2, 3], [4, 5, 6]],
    "deep": [["a"], [], ["b", "c"]],
    "deeper": {"a": {"b": [[0.5], [], [1.5, 2.5]]}},
}
EMPTY = {**ROW, "names": [], "spans": {"start": [], "text": []}, "deep": [], "deeper": []}


def serialize(row):
    return NESTED.serialize_example(NESTED.encode_example(row))


@pytest.fixture
def folder(tmp_path):
    NESTED.save_config(tmp_path)
    return tmp_path


def test_every_kind_of_feature_comes_back(folder):
    assert row_decoder(folder)(serialize(ROW)) == ROW
    assert row_decoder(folder)(serialize(EMPTY)) == {**EMPTY, "deeper": {"a": {"b": []}}}


def test_values_are_plain_python(folder):
    row = row_decoder(folder)(serialize(ROW))
    assert [type(row[k]) for k in ("id", "score", "flag", "text")] == [int, float, bool, str]


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tf.RaggedTensor | tf.compat.v1.ragged.RaggedTensorValue):
        return plain(value.to_list())
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value


real_data = pytest.mark.skipif(
    "FLAN_REAL_DATA" not in os.environ, reason="FLAN_REAL_DATA is not set"
)


@pytest.mark.real_data
@real_data
def test_real_rows_are_those_of_tfds_parser():
    infos = sorted(Path(os.environ["FLAN_REAL_DATA"]).rglob("dataset_info.json"))
    assert infos
    for info in infos:
        builder = tfds.builder_from_directory(info.parent)
        decode = row_decoder(info.parent)
        for split in builder.info.splits.values():
            for record in read_records(Path(split.file_instructions[0].filename), 0, 5):
                assert decode(record) == plain(builder.info.features.deserialize_example_np(record))


@pytest.mark.real_data
@real_data
@pytest.mark.parametrize("name", ["quac/1.0.0", "super_glue/record/1.0.2", "drop/2.0.0"])
def test_real_rows_are_those_of_as_numpy(name):
    folder = Path(os.environ["FLAN_REAL_DATA"]) / name
    builder = tfds.builder_from_directory(folder)
    split = builder.info.splits["train"]
    theirs = tfds.as_numpy(builder.as_dataset(split="train").take(16))
    ours = read_records(Path(split.file_instructions[0].filename), 0, 16)
    assert list(map(row_decoder(folder), ours)) == [plain(r) for r in theirs]


def test_bytes_that_are_no_example(folder):
    decode = row_decoder(folder)
    with pytest.raises(ValueError, match="not an example"):
        decode(b"\xff\xff\xff")
    with pytest.raises(ValueError, match=r"it lacks '[a-z]+'"):
        decode(b"")


def test_lists_that_do_not_fit(folder):
    example = tf.train.Example.FromString(serialize(ROW))
    example.features.feature["deep/ragged_row_lengths_0"].int64_list.value[0] = 9
    with pytest.raises(ValueError, match="3 values do not fill rows of lengths"):
        row_decoder(folder)(example.SerializeToString())
    example = tf.train.Example.FromString(serialize(ROW))
    example.features.feature["grid"].int64_list.value.append(1)
    with pytest.raises(ValueError, match="7 values do not fill the shape"):
        row_decoder(folder)(example.SerializeToString())


def test_text_that_is_not_utf8(folder):
    example = tf.train.Example.FromString(serialize(ROW))
    example.features.feature["text"].bytes_list.value[0] = b"\xff"
    with pytest.raises(ValueError, match=r"not an example of these features.*utf-8"):
        row_decoder(folder)(example.SerializeToString())


def test_features_that_are_not_read(tmp_path):
    with pytest.raises(ValueError, match=r"has no features\.json"):
        row_decoder(tmp_path)
    tfds.features.FeaturesDict({"photo": tfds.features.Image()}).save_config(tmp_path)
    with pytest.raises(ValueError, match="feature 'photo' is of type Image"):
        row_decoder(tmp_path)
    (tmp_path / "features.json").write_text(json.dumps({"featuresDict": [1]}))
    with pytest.raises(ValueError, match="not as TFDS writes it"):
        row_decoder(tmp_path)
