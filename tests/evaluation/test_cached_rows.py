import dataclasses

import pytest

from flan.catalog.registry import get_dataset
from flan.catalog.splits import Slice
from flan.data.cache_keys import cache_folder, rows_identity
from flan.data.example_rows import demo_examples
from flan.data.row_cache import write_row_cache
from flan.evaluation.cached_rows import CachedRowStore


def write_cache(cache_dir, dataset, split, data="data", count=5):
    source = dataset.sources[0]
    identity = rows_identity(dataset, source, split, Slice("validation", 10, 10 + count), data)
    fields = [e.fields for e in demo_examples(dataset, count)]
    path = cache_folder(cache_dir, "rows", identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The second row is dropped, so that ids are not places.
    rows = [(10 + i, None if i == 1 else f) for i, f in enumerate(fields)]
    write_row_cache(path, identity, rows)
    return path, fields


@pytest.fixture
def rte():
    return get_dataset("rte")


def test_cached_rows_need_no_data_folder(tmp_path, rte):
    _, fields = write_cache(tmp_path, rte, "test")
    write_cache(tmp_path, rte, "train")
    found = CachedRowStore(tmp_path).open([rte], ["dev", "test"])
    assert list(found) == [("rte", "rte", "test")]
    rows = found["rte", "rte", "test"]
    assert len(rows) == 4
    loaded = rows.load([0, 1, 3])
    assert loaded.ids == (10, 12, 14)
    assert loaded.examples == (fields[0], fields[2], fields[4])


def test_a_cache_of_another_to_fields_is_not_used(tmp_path, rte):
    write_cache(tmp_path, dataclasses.replace(rte, version=rte.version + 1), "test")
    with pytest.raises(ValueError, match=r"rte.*cached.*--data_dir"):
        CachedRowStore(tmp_path).open([rte], ["test"])


def test_caches_of_several_data_folders_are_not_guessed_among(tmp_path, rte):
    write_cache(tmp_path, rte, "test")
    write_cache(tmp_path, rte, "test", data="other")
    with pytest.raises(ValueError, match=r"rte: several caches.*--data_dir"):
        CachedRowStore(tmp_path).open([rte], ["test"])


def test_missing_datasets_stop_the_start_unless_skipped(tmp_path, rte, capsys):
    write_cache(tmp_path, rte, "test")
    datasets = [rte, get_dataset("cb")]
    with pytest.raises(ValueError, match=r"cb: no rows(.|\n)*--skip_missing"):
        CachedRowStore(tmp_path).open(datasets, ["test"])
    found = CachedRowStore(tmp_path, skip_missing=True).open(datasets, ["test"])
    assert list(found) == [("rte", "rte", "test")]
    assert "left out: cb" in capsys.readouterr().err
    with pytest.raises(ValueError, match="cb"):
        CachedRowStore(tmp_path, skip_missing=True).open(datasets[1:], ["test"])


def test_a_data_folder_that_is_not_there(tmp_path, rte):
    with pytest.raises(FileNotFoundError, match="no data folder"):
        CachedRowStore(tmp_path, tmp_path / "none").open([rte], ["test"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"rte needs super_glue/rte"):
        CachedRowStore(tmp_path, tmp_path / "empty").open([rte], ["test"])


def test_a_damaged_cache_is_named(tmp_path, rte):
    path, _ = write_cache(tmp_path, rte, "test")
    (path / "rows.jsonl").write_text("x")
    with pytest.raises(ValueError, match=r"rows\.jsonl has 1 bytes"):
        CachedRowStore(tmp_path).open([rte], ["test"])


@pytest.mark.real_data
def test_real_rows_of_every_nli_source(tmp_path, real_data):
    datasets = [get_dataset(name) for name in ("anli", "mnli", "rte")]
    found = CachedRowStore(tmp_path, real_data).open(datasets, ["dev", "test"])
    names = {(d.name, s.name) for d in datasets for s in d.sources}
    assert {key[:2] for key in found} == names
    assert all(len(rows) > 20 for rows in found.values())
    again = CachedRowStore(tmp_path).open(datasets, ["dev", "test"])
    assert {k: v.key for k, v in again.items()} == {k: v.key for k, v in found.items()}
