"""Row caches: what is written comes back; damage and foreign files are refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flan.catalog.dataset import Fields
from flan.data import row_cache
from flan.data.cache_files import file_checksums, file_sizes
from flan.data.cache_keys import cache_folder
from flan.data.row_cache import RowCache, write_row_cache

IDENTITY = {"dataset": "rte", "source": "rte", "split": "dev", "version": 1}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def fields(draw):
    values = draw(st.dictionaries(st.sampled_from("abc"), TEXT))
    options = tuple(draw(st.lists(TEXT, max_size=3)))
    if not options:
        return Fields(values, draw(TEXT), references=tuple(draw(st.lists(TEXT, max_size=2))))
    label = draw(st.integers(0, len(options) - 1))
    return Fields(values, options[label], options, label, (options[label],))


def rows(count=5):
    return [
        (10 + i, Fields({"text": f"row {i}\nend"}, "yes", ("no", "yes"), 1, ("yes",)))
        if i != 2
        else (10 + i, None)
        for i in range(count)
    ]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.one_of(st.none(), fields()), max_size=8))
def test_rows_come_back(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("rows") / "cache"
    write_row_cache(path, IDENTITY, enumerate(found))
    cache = RowCache.open(path)
    kept = [f for f in found if f is not None]
    assert list(cache) == kept == [cache.fields(i) for i in range(len(cache))] == cache[:]
    assert cache.row_ids.tolist() == [i for i, f in enumerate(found) if f is not None]


def test_places(tmp_path):
    write_row_cache(tmp_path / "c", IDENTITY, rows())
    cache = RowCache.open(tmp_path / "c")
    assert len(cache) == 4
    assert cache[-1] == cache[3] == rows()[4][1]
    assert cache[1:3] == [rows()[1][1], rows()[3][1]]
    for outside in (4, -5):
        with pytest.raises(IndexError, match=f"row {outside} of 4"):
            cache[outside]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in "ab":
        write_row_cache(tmp_path / name, IDENTITY, rows())
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_failing_source_leaves_nothing(tmp_path):
    def source():
        yield from rows()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_row_cache(tmp_path / "c", IDENTITY, source())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(row_cache.np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_row_cache(tmp_path / "c", IDENTITY, rows())
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_by_a_killed_writer_is_removed(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from flan.data.row_cache import write_row_cache
def rows():
    os.kill(os.getpid(), signal.SIGKILL)
    yield
write_row_cache(Path({str(tmp_path / "c")!r}), {IDENTITY!r}, rows())
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [p.name.startswith(".c.") for p in tmp_path.iterdir()] == [True]
    write_row_cache(tmp_path / "c", IDENTITY, rows())
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_nothing_there_or_unfinished(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there: run `flan prepare`"):
        RowCache.open(tmp_path / "c")
    (tmp_path / "c").mkdir()
    with pytest.raises(FileNotFoundError, match="never finished"):
        RowCache.open(tmp_path / "c")


@pytest.fixture
def written(tmp_path):
    write_row_cache(tmp_path / "c", IDENTITY, rows())
    return tmp_path / "c"


def edit_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def restate(path):
    """The manifest of the files as they are."""
    edit_manifest(path, files=file_sizes(path), sha256=file_checksums(path))


def test_a_foreign_manifest(written):
    edit_manifest(written, format="flan-tokens-1")
    with pytest.raises(ValueError, match="format 'flan-tokens-1', expected 'flan-rows-2'"):
        RowCache.open(written)
    for content, message in [("[]", "format 'list'"), ("{", "not JSON")]:
        (written / "manifest.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            RowCache.open(written)


@pytest.mark.parametrize("name", ["rows.jsonl", "offsets.npy", "row_ids.npy"])
def test_truncated_and_missing_files(written, name):
    file = written / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=rf"{name} has \d+ bytes, the manifest says \d+"):
        RowCache.open(written)
    file.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        RowCache.open(written)


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([0, 5, 3, 9, 10]),
        np.array([0, 10**12, 2, 3, 4]),
        np.array([1, 2, 3, 4, 5]),
        np.array([0, 1], np.int64),
    ],
)
def test_offsets_that_lead_astray(written, offsets):
    np.save(written / "offsets.npy", offsets)
    restate(written)
    with pytest.raises(ValueError, match="its index does not fit its rows"):
        RowCache.open(written)


def test_arrays_of_another_type(written):
    np.save(written / "row_ids.npy", np.zeros(4, np.float32))
    restate(written)
    with pytest.raises(ValueError, match=r"expected an array of int64, found float32\[4\]"):
        RowCache.open(written)


def test_pickled_arrays_are_not_loaded(written):
    np.save(written / "row_ids.npy", np.array([{}, {}, {}, {}]), allow_pickle=True)
    restate(written)
    with pytest.raises(ValueError, match="not an array file"):
        RowCache.open(written)


def test_a_changed_line_is_named(written):
    data = (written / "rows.jsonl").read_bytes()
    (written / "rows.jsonl").write_bytes(b"[" + data[1:])
    with pytest.raises(ValueError, match=r"rows\.jsonl: the content changed"):
        RowCache.open(written)
    restate(written)
    cache = RowCache.open(written)
    with pytest.raises(ValueError, match=r"rows\.jsonl: line 0 is damaged"):
        cache[0]
    assert cache[1] == rows()[1][1]
    with pytest.raises(ValueError, match=r"rows\.jsonl: line 0 is damaged"):
        cache[:3]
    assert cache[1:3] == [rows()[1][1], rows()[3][1]]


@pytest.mark.parametrize("line", [b"{},{}", b"[]", b"{}]", b"\n{}", b"nonsense", b"{}"])
def test_a_line_that_is_no_row_is_named(written, line):
    data = (written / "rows.jsonl").read_bytes()
    first = data.index(b"\n")
    (written / "rows.jsonl").write_bytes(line.ljust(first) + data[first:])
    restate(written)
    cache = RowCache.open(written)
    for read in (lambda: cache[0], lambda: cache[:2], lambda: cache[:]):
        with pytest.raises(ValueError, match=r"rows\.jsonl: line 0 is damaged"):
            read()


@pytest.mark.parametrize(
    "change",
    [
        {"values": 5},
        {"values": {"text": 5}},
        {"answer": None},
        {"options": "no"},
        {"options": [1]},
        {"label": True},
        {"references": None},
    ],
)
def test_rows_of_other_types_are_refused(change):
    row = json.loads(row_cache.fields_to_json(rows()[0][1]))
    with pytest.raises((TypeError, ValueError)):
        row_cache.fields_from_json(json.dumps({**row, **change}).encode())


@pytest.mark.parametrize("change", [{"kept": None}, {"found": "5"}, {"dropped": -1}])
def test_manifests_without_their_counts(written, change):
    edit_manifest(written, **change)
    with pytest.raises(ValueError, match=r"manifest\.json: lacks its counts .*flan prepare"):
        RowCache.open(written)
    (written / "manifest.json").write_text('{"format": "flan-rows-2"}')
    with pytest.raises(ValueError, match="its manifest is of another cache"):
        RowCache.open(written)


def test_a_cache_in_the_place_of_another_is_refused(tmp_path):
    path = cache_folder(tmp_path, "rows", IDENTITY)
    write_row_cache(path, IDENTITY, rows())
    other = path.rename(cache_folder(tmp_path, "rows", {**IDENTITY, "split": "test"}))
    with pytest.raises(ValueError, match=rf"{other.name}: its manifest is of another cache"):
        RowCache.open(other)


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_cache_whose_manifest_is_lost_is_made_again(written, content):
    (written / "manifest.json").unlink()
    if content is not None:
        (written / "manifest.json").write_bytes(content)
    write_row_cache(written, IDENTITY, rows())
    assert len(RowCache.open(written)) == 4
    assert [p.name for p in written.parent.iterdir()] == ["c"]
