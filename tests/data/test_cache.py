"""Token caches: shards, resuming, and suspicion."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data import atomic, cache_files
from flan.data.cache import ARRAYS, TaskCache, TaskCacheWriter
from flan.data.cache_files import file_checksums, file_sizes
from flan.data.cache_keys import cache_folder
from flan.data.tokenization import Tokenized

IDENTITY = {"dataset": "rte", "source": "rte", "split": "train", "version": 1}


def tokenized(examples):
    """Examples as (inputs, targets), both with EOS."""
    return Tokenized(
        np.array([t for x, y in examples for t in (*x, *y)], np.int32),
        np.array([len(x) + len(y) for x, y in examples], np.int64),
        np.array([len(x) for x, _ in examples], np.int32),
        len(examples),
        1,
        len(examples) + 1,
    )


def examples_of(indices):
    return [([i + 2] * (i % 3) + [1], [i + 5] * (i % 2 + 1) + [1]) for i in indices]


def writer_at(path, num_rows=5, renderings=2, shard_examples=4):
    return TaskCacheWriter(path, IDENTITY, num_rows, num_rows + 1, renderings, shard_examples)


def write(writer, shard):
    indices = writer.shards[shard]
    halves = [indices[:1], indices[1:]]
    batches = (tokenized(examples_of(half)) for half in halves)
    writer.write_shard(shard, batches, [i % 10 for i in indices], [100 + i for i in indices])


def write_all(path, **options):
    writer = writer_at(path, **options)
    for shard in writer.missing():
        write(writer, shard)
    return writer.finish()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 7), st.integers(1, 3), st.integers(1, 9))
def test_what_is_written_comes_back(tmp_path_factory, num_rows, renderings, shard_examples):
    path = tmp_path_factory.mktemp("tokens") / "c"
    cache = write_all(path, num_rows=num_rows, renderings=renderings, shard_examples=shard_examples)
    total = num_rows * renderings
    assert len(cache) == total
    assert (cache.num_rows, cache.renderings, cache.rows_found) == (
        num_rows,
        renderings,
        num_rows + 1,
    )
    found = [tuple(map(np.ndarray.tolist, cache.example(i))) for i in range(total)]
    assert found == examples_of(range(total))
    assert cache.template_ids.tolist() == [i % 10 for i in range(total)]
    assert cache.row_ids.tolist() == [100 + i for i in range(total)]


def test_shapes_and_counts(tmp_path):
    cache = write_all(tmp_path / "c")
    assert {n: getattr(cache, n).dtype for n in ARRAYS} == {
        n: np.dtype(t) for n, t in ARRAYS.items()
    }
    # Five shards' halves: 10 examples counted by `tokenized`, one and two more a batch.
    assert cache.manifest["cut_inputs"] == 10
    assert cache.manifest["cut_targets"] == 6
    assert cache.num_cut == 16
    assert cache.shards == (cache,)
    with pytest.raises(IndexError, match="example 10 of 10"):
        cache.example(10)


def test_the_same_examples_give_the_same_bytes_however_sharded(tmp_path):
    one, other = write_all(tmp_path / "a"), write_all(tmp_path / "b", shard_examples=3)
    for name in ARRAYS:
        assert (one.path / f"{name}.npy").read_bytes() == (other.path / f"{name}.npy").read_bytes()
    same = write_all(tmp_path / "c")
    assert (one.path / "manifest.json").read_bytes() == (same.path / "manifest.json").read_bytes()


def test_shards_may_come_in_any_order_and_survive_a_kill(tmp_path):
    path = tmp_path / "c"
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
from pathlib import Path
from test_cache import write, writer_at
writer = writer_at(Path({str(path)!r}))
write(writer, 2)
write(writer, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with pytest.raises(FileNotFoundError, match="flan prepare"):
        TaskCache.open(path)
    writer = writer_at(path)
    assert writer.missing() == [1]
    before = [p.stat().st_mtime_ns for p in sorted(writer.partial.iterdir())]
    write(writer, 1)
    after = [p.stat().st_mtime_ns for p in sorted(writer.partial.iterdir())]
    assert set(before) < set(after)
    writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    assert writer.done
    assert writer.missing() == []


def test_finishing_twice_is_no_error(tmp_path):
    first = write_all(tmp_path / "c")
    assert writer_at(tmp_path / "c").finish().fingerprint == first.fingerprint


def test_a_full_disk_keeps_finished_shards_and_leaves_no_half(tmp_path, monkeypatch):
    writer = writer_at(tmp_path / "c")
    write(writer, 0)

    def full(self, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            write(writer, 1)
    assert [p.name for p in writer.partial.iterdir()] == ["shard-00000.npz"]
    for shard in writer.missing():
        write(writer, shard)
    with monkeypatch.context() as patch:
        patch.setattr(atomic.Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == [".c.partial"]
    assert len(writer.finish()) == 10


def test_a_damaged_shard_is_written_again(tmp_path):
    writer = writer_at(tmp_path / "c")
    for shard in writer.missing():
        write(writer, shard)
    (writer.partial / "shard-00001.npz").write_bytes(b"PK not really")
    with pytest.raises(
        ValueError, match=r"shard-00001\.npz was damaged .* run `flan prepare` again"
    ):
        writer.finish()
    assert writer.missing() == [1]
    write(writer, 1)
    assert len(writer.finish()) == 10


@pytest.fixture
def written(tmp_path):
    return write_all(tmp_path / "c").path


def edit(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def replace(path, name, array):
    np.save(path / f"{name}.npy", array)
    edit(path, files=file_sizes(path), sha256=file_checksums(path))


@pytest.mark.parametrize("name", ARRAYS)
def test_truncated_files(written, name):
    file = written / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match=rf"{name}\.npy has \d+ bytes, the manifest says"):
        TaskCache.open(written)


def test_foreign_manifests(written):
    edit(written, format="flan-rows-1")
    with pytest.raises(ValueError, match="format 'flan-rows-1', expected 'flan-tokens-1'"):
        TaskCache.open(written)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("offsets", np.arange(11) * 1000, "lead outside its tokens"),
        ("offsets", np.zeros(11, np.int64), "lead outside its tokens"),
        ("offsets", np.zeros(4, np.int64), "4 offsets for 10 examples"),
        ("input_lengths", np.full(10, 99, np.int32), "input lengths do not fit"),
        ("input_lengths", np.zeros(10, np.int32), "input lengths do not fit"),
        ("input_lengths", np.ones(3, np.int32), "5 rows in 2 renderings are promised, and 3"),
        ("row_ids", np.zeros(3, np.int64), "differ in length"),
        ("tokens", np.zeros(5, np.int32), "lead outside its tokens"),
        ("tokens", np.zeros(5, np.int64), "expected an array of int32"),
    ],
)
def test_arrays_that_do_not_fit(written, name, array, message):
    replace(written, name, array)
    with pytest.raises(ValueError, match=message):
        TaskCache.open(written)


def test_manifests_that_lie(written):
    edit(written, num_rows=-5, renderings=-2)
    with pytest.raises(ValueError, match="lacks its counts"):
        TaskCache.open(written)
    edit(written, num_rows="5")
    with pytest.raises(ValueError, match="lacks its counts"):
        TaskCache.open(written)


def test_a_changed_token_is_found(written):
    tokens = np.array(TaskCache.open(written).tokens)
    tokens[3] += 1
    np.save(written / "tokens.npy", tokens)
    with pytest.raises(ValueError, match=r"tokens\.npy: the content changed.*flan prepare"):
        TaskCache.open(written)


def test_checksums_are_worked_out_once(written, monkeypatch):
    TaskCache.open(written)
    monkeypatch.setattr(cache_files, "_checksum", None)
    TaskCache.open(written)


def test_a_cache_in_the_place_of_another_is_refused(tmp_path):
    path = cache_folder(tmp_path, "tokens", IDENTITY)
    write_all(path)
    other = cache_folder(tmp_path, "tokens", {**IDENTITY, "split": "test"})
    path.rename(other)
    writer = TaskCacheWriter(other, {**IDENTITY, "split": "test"}, 5, 6, 2, 4)
    for look in (lambda: TaskCache.open(other), lambda: writer.done):
        with pytest.raises(ValueError, match=rf"{other.name}: its manifest is of another cache"):
            look()


@pytest.mark.parametrize("content", [None, b"", b'{"format": "flan-to'])
def test_a_cache_whose_manifest_is_lost_is_made_again(written, content):
    (written / "manifest.json").unlink()
    if content is not None:
        (written / "manifest.json").write_bytes(content)
    assert writer_at(written).missing() == [0, 1, 2]
    assert len(write_all(written)) == 10
    assert [p.name for p in written.parent.iterdir()] == ["c"]


def test_shards_that_another_process_joined_and_removed(tmp_path, monkeypatch):
    """As where a file system has no locks, so that two prepare the same."""
    writer = writer_at(tmp_path / "c")
    for shard in writer.missing():
        write(writer, shard)
    read = TaskCacheWriter._read_shard

    def late(self, number):
        if number == 1 and not (tmp_path / "c").exists():
            monkeypatch.setattr(TaskCacheWriter, "_read_shard", read)
            writer_at(tmp_path / "c").finish()
        return read(self, number)

    monkeypatch.setattr(TaskCacheWriter, "_read_shard", late)
    assert len(writer.finish()) == 10
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
