import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog import get_dataset
from flan.catalog.dataset import Source
from flan.data.doctor import expected_spec
from flan.data.tfds_folder import read_source, read_spec, split_sizes, versions_found
from flan.testing.tfds_folder import write_description

SOURCE = Source("toy", "toy/config", "1.2.3")


def test_what_is_written_reads_back(tmp_path):
    spec = {
        "answers[]/label": ["a", "b c"],
        "answers[]/text": "string",
        "id": "int32",
        "words[]": "string",
    }
    path = write_description(tmp_path, SOURCE, {"train": 5, "test": 0}, spec)
    assert path == tmp_path / "toy" / "config" / "1.2.3"
    assert read_spec(path) == spec
    assert split_sizes(tmp_path, SOURCE) == {"train": 5, "test": 0}
    assert read_source(tmp_path, SOURCE).missing_files == ()


@pytest.mark.parametrize("name", ["rte", "arc", "squad", "wmt16_deen", "trec"])
def test_shipped_specs_read_back(tmp_path, name):
    for source in get_dataset(name).sources:
        path = write_description(tmp_path, source, {"train": 1})
        assert read_spec(path) == expected_spec(source.tfds)


def test_nothing_there(tmp_path):
    assert read_source(tmp_path, SOURCE) is None
    assert split_sizes(tmp_path, SOURCE) == {}
    assert versions_found(tmp_path, SOURCE) == []


def test_other_versions(tmp_path):
    write_description(tmp_path, Source("toy", "toy/config", "0.9.0"), {"train": 5}, {})
    (tmp_path / "toy" / "config" / "incomplete.1.2.3").mkdir()
    assert versions_found(tmp_path, SOURCE) == ["0.9.0"]
    assert read_source(tmp_path, SOURCE) is None


def test_a_shard_that_is_gone(tmp_path):
    path = write_description(tmp_path, SOURCE, {"train": 5}, {})
    shard = path / "toy-train.tfrecord-00000-of-00001"
    shard.unlink()
    assert read_source(tmp_path, SOURCE).missing_files == (shard.name,)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"splits": 3}',
        '{"splits": [3]}',
        '{"splits": [{"shardLengths": ["1"]}]}',
        '{"splits": [{"name": "train", "shardLengths": ["-1"]}]}',
        '{"splits": [{"name": "train", "shardLengths": ["x"]}]}',
        '{"splits": [{"name": ["train"], "shardLengths": []}]}',
        '{"splits": [{"name": "train", "shardLengths": [Infinity]}]}',
        '{"splits": [{"name": "train", "shardLengths": [249.9]}]}',
        '{"splits": [{"name": "train", "shardLengths": [true]}]}',
        '{"splits": [{"name": "train", "shardLengths": "250"}]}',
        '{"splits": [{"name": "train", "shardLengths": ["1"]}, {"name": "train"}]}',
        "[" * 100_000,
    ],
)
def test_damaged_descriptions_are_named(tmp_path, content):
    path = write_description(tmp_path, SOURCE, {"train": 5}, {})
    (path / "dataset_info.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"dataset_info\.json"):
        read_source(tmp_path, SOURCE)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "featuresDict",
                        "features",
                        "feature",
                        "sequence",
                        "tensor",
                        "text",
                        "classLabel",
                        "translation",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=20,
    )
)
def test_damaged_features_raise_nothing_else_than_value_errors(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("features")
    (folder / "features.json").write_text(json.dumps(content), encoding="utf-8")
    with contextlib.suppress(ValueError):
        assert all(isinstance(kind, str | list) for kind in read_spec(folder).values())


def test_features_that_nest_without_end(tmp_path):
    content = {"text": {}}
    for _ in range(50):
        content = {"sequence": {"feature": content}}
    (tmp_path / "features.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="nest deeper"):
        read_spec(tmp_path)
