"""Where data and caches lie."""

from pathlib import Path

import pytest

from flan import folders


def test_given_then_environment_then_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.delenv("FLAN_CACHE_DIR", raising=False)
    assert folders.data_dir() is None
    assert folders.cache_dir() == tmp_path / ".cache/flan"
    (tmp_path / "tensorflow_datasets").mkdir()
    assert folders.data_dir() == tmp_path / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", "/data")
    monkeypatch.setenv("FLAN_CACHE_DIR", "/caches")
    assert folders.data_dir() == Path("/data")
    assert folders.cache_dir() == Path("/caches")
    assert folders.data_dir("~/mine") == tmp_path / "mine"
    assert folders.cache_dir(tmp_path) == tmp_path


@pytest.mark.parametrize("address", ["gs://bucket/data", "s3://b", "hdfs://host/x", "file:///x"])
def test_addresses_are_refused(monkeypatch, address):
    monkeypatch.setenv("TFDS_DATA_DIR", address)
    for find in (folders.data_dir, folders.cache_dir, folders.usual_data_dir):
        given = () if find is folders.usual_data_dir else (Path(address),)
        with pytest.raises(ValueError, match=r"is an address.*mount the bucket"):
            find(*given)
    with pytest.raises(ValueError, match="is an address"):
        folders.data_dir()


def test_colons_in_names_are_no_addresses():
    for name in ("a:b", "./gs:/x", "x/y:/z", "C:/data"):
        assert folders.local(name) == Path(name)
