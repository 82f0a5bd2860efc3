"""From a data folder to caches, with everything that can go wrong on the way."""

import collections
import dataclasses
import errno
import glob
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flan.catalog import registry
from flan.catalog.registry import get_dataset
from flan.data import atomic, cache, cache_lock, prepare_jobs
from flan.data import prepare as prepare_module
from flan.data.cache_files import MANIFEST
from flan.data.cache_plan import Request, missing_text
from flan.data.phrasing import Phraser
from flan.data.prepare import arguments, ensure_prepared, find_prepared, prepare
from flan.data.rows import UnusableSource
from flan.data.vocabulary import load_vocabulary, train_sentencepiece
from flan.templates import load as templates_load


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    train_sentencepiece(
        ["The dog is in the park. OPTIONS:\n- yes\n- no\n"] * 20, out, 320, shrink=True
    )
    return out


@pytest.fixture
def request_of(demo_data_dir, tmp_path, vocabulary):
    def make(*datasets, **changes):
        fields = {"data_dir": demo_data_dir, "vocabulary": vocabulary, **changes}
        return Request(datasets or ("rte",), tmp_path / "cache", **fields)

    return make


def files(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.endswith(".lock")
    }


def test_rows_and_tokens(request_of, tmp_path, vocabulary):
    prepared = prepare(request_of("rte", "anli", epochs=3))
    assert set(prepared.tokens) == {("rte", "rte"), ("anli", "r1"), ("anli", "r2"), ("anli", "r3")}
    assert {s for d, _, s in prepared.rows if d == "rte"} == {"train", "dev", "test"}
    (tokens,) = prepared.open_tokens()["rte"]
    (rows,) = prepared.open_rows("rte", "train").values()
    assert (tokens.num_rows, tokens.renderings, tokens.rows_found) == (len(rows), 3, 48)
    words = load_vocabulary(vocabulary)
    phraser = Phraser(get_dataset("rte"))
    for index in range(len(tokens)):
        epoch, row = divmod(index, len(rows))
        row_id = int(rows.row_ids[row])
        template, text = phraser.phrase(rows[row], "rte", row_id, epoch)
        inputs, targets = tokens.example(index)
        assert inputs.tolist() == [*words.encode(text.input), 1]
        assert targets.tolist() == [*words.encode(text.target), 1]
        assert (tokens.template_ids[index], tokens.row_ids[index]) == (template, row_id)


def test_ten_epochs_meet_each_template_once(request_of):
    (tokens,) = prepare(request_of(epochs=10)).open_tokens()["rte"]
    by_row = collections.defaultdict(list)
    for row_id, template in zip(tokens.row_ids, tokens.template_ids, strict=True):
        by_row[int(row_id)].append(int(template))
    assert all(sorted(t) == list(range(10)) for t in by_row.values())


def test_larger_datasets_are_rendered_less_often(request_of):
    prepared = prepare(request_of("rte", "anli", epochs=4, rate=50))
    renderings = {d: {c.renderings for c in cs} for d, cs in prepared.open_tokens().items()}
    # 48 rows of rte, 180 of anli's three sources: 4 * 50 / 180 rounded up.
    assert renderings == {"rte": {4}, "anli": {2}}


def test_renderings_without_templates_are_made_once(request_of):
    (tokens,) = prepare(request_of(rendering="no_template", epochs=5)).open_tokens()["rte"]
    assert tokens.renderings == 1
    assert set(tokens.template_ids.tolist()) == {-1}


def test_few_shot_inputs_hold_exemplars(request_of, vocabulary):
    plain, shots = (
        prepare(request_of(rendering=r)).open_tokens()["rte"][0]
        for r in ("no_template", "no_template_2shot")
    )
    assert (shots.input_lengths > 2 * plain.input_lengths.min()).all()
    text = load_vocabulary(vocabulary).decode(shots.example(0)[0])
    assert text.endswith(load_vocabulary(vocabulary).decode(plain.example(0)[0]))


def test_cut_examples_are_counted(request_of):
    (tokens,) = prepare(request_of(input_length=20, target_length=2)).open_tokens()["rte"]
    assert tokens.input_lengths.max() == 20
    lengths = np.diff(tokens.offsets)
    assert (lengths - tokens.input_lengths).max() == 2
    assert tokens.num_cut > 0
    assert tokens.manifest["cut_inputs"] <= tokens.num_cut <= len(tokens)


def test_the_same_request_gives_the_same_bytes(request_of, tmp_path):
    prepare(request_of(epochs=2), workers=1)
    first = files(tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    prepare(request_of(epochs=2), workers=2)
    assert files(tmp_path / "cache") == first


def test_what_is_there_is_kept(request_of, monkeypatch):
    prepared = prepare(request_of())

    def fail(*args):
        raise AssertionError("worked again")

    monkeypatch.setattr(prepare_module, "rows_job", fail)
    monkeypatch.setattr(prepare_module, "tokens_job", fail)
    assert prepare(request_of()) == prepared
    assert find_prepared(request_of()) == prepared


def test_shards_of_a_finished_cache_are_removed(request_of):
    (path,) = prepare(request_of()).tokens.values()
    left = path.parent / f".{path.name}.partial"
    left.mkdir()
    prepare(request_of("rte", "arc"))
    assert not left.exists()


def test_a_changed_template_touches_its_dataset_alone(request_of, tmp_path, monkeypatch):
    before = prepare(request_of("rte", "arc"))
    original = templates_load._load

    def changed(dataset, root):
        found = original(dataset, root)
        if dataset != "rte":
            return found
        first, *rest = found.templates
        return dataclasses.replace(found, templates=(dataclasses.replace(first, id="t00"), *rest))

    monkeypatch.setattr(templates_load, "_load", changed)
    after = prepare(request_of("rte", "arc"))
    assert before.rows == after.rows
    same = {k for k in before.tokens if before.tokens[k] == after.tokens[k]}
    assert same == {k for k in before.tokens if k[0] == "arc"}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 2},
        {"input_length": 100},
        {"target_length": 100},
        {"rendering": "no_options"},
        {"template": "t1"},
    ],
)
def test_each_setting_has_a_cache_of_its_own(request_of, change):
    base, other = prepare(request_of()), prepare(request_of(**change))
    assert base.rows == other.rows
    assert base.tokens != other.tokens


def test_rows_only(request_of):
    prepared = prepare(request_of("xsum", vocabulary=None, splits=("dev", "test")))
    assert prepared.tokens == {}
    assert {s for _, _, s in prepared.rows} == {"dev", "test"}


def test_found_without_the_data_folder(request_of):
    prepared = prepare(request_of("rte", "anli"))
    assert find_prepared(request_of("rte", "anli", data_dir=None)) == prepared
    # Tokens can be made of rows that are cached.
    other = ensure_prepared(request_of("rte", data_dir=None, seed=5), workers=1)
    assert other.tokens != prepared.tokens


def test_without_data_folder_or_cache(request_of):
    with pytest.raises(UnusableSource, match=r"no rows of super_glue/rte:1\.0\.2 are cached"):
        prepare(request_of(data_dir=None))
    prepare(request_of(splits=("dev",), vocabulary=None))
    with pytest.raises(UnusableSource, match="no rows of super_glue/rte"):
        prepare(request_of(data_dir=None))


def test_two_data_folders_in_one_cache_are_told_apart(request_of, tmp_path):
    from flan.data.demo import write_demo

    write_demo(tmp_path / "other", ["rte"], train_rows=60, eval_rows=20, seed=9)
    first = prepare(request_of())
    second = prepare(request_of(data_dir=tmp_path / "other"))
    assert set(first.rows.values()).isdisjoint(second.rows.values())
    with pytest.raises(UnusableSource, match="several caches of super_glue/rte"):
        find_prepared(request_of(data_dir=None))


def test_without_the_data_folder_the_cap_decides_which_rows(request_of):
    rows_only = {"vocabulary": None, "splits": ("train", "dev")}
    capped = prepare(request_of(cap=10, **rows_only))
    with pytest.raises(UnusableSource, match=r"cap is 30 training rows, .* are the first 10; give"):
        find_prepared(request_of(data_dir=None, cap=30, **rows_only))
    whole = prepare(request_of(**rows_only))  # 48 rows
    assert capped.rows != whole.rows
    for cap, expected in [(10, capped), (48, whole), (30_000, whole)]:
        assert find_prepared(request_of(data_dir=None, cap=cap, **rows_only)) == expected
    with pytest.raises(UnusableSource, match=r"the first 10 or 48; give .* or a cap of 48"):
        find_prepared(request_of(data_dir=None, cap=30, **rows_only))


def test_swapped_caches_are_refused(request_of, tmp_path):
    paths = prepare(request_of(vocabulary=None)).rows
    train, test = (paths["rte", "rte", split] for split in ("train", "test"))
    train.rename(tmp_path / "passing")
    test.rename(train)
    (tmp_path / "passing").rename(test)
    for data_dir in ({}, {"data_dir": None}):
        with pytest.raises(ValueError, match="its manifest is of another cache"):
            prepare(request_of(vocabulary=None, **data_dir))


def test_a_cache_that_lost_its_manifest_is_made_again(request_of):
    prepared = prepare(request_of())
    for path in (*prepared.rows.values(), *prepared.tokens.values()):
        (path / MANIFEST).unlink()
    assert find_prepared(request_of()) is None
    assert prepare(request_of(), workers=1) == prepared == find_prepared(request_of())


def test_many_missing_sources_are_named_without_a_remedy_each():
    missing = {(f"d{i}", source): f"d{i} lacks {source}" for i in range(4) for source in "ab"}
    text = missing_text(missing)
    assert text.startswith("- d0, d1, d2, d3\nThe first: d0 lacks a\n`flan doctor")
    few = dict(list(missing.items())[:2])
    assert missing_text(few) == "- d0 lacks a\n- d0 lacks b"


def test_missing_sources_are_all_named_or_skipped(request_of):
    with pytest.raises(UnusableSource) as error:
        prepare(request_of("rte", "cb", "squad"))
    for name in ("super_glue/cb", "squad/v1.1", "squad/v2.0", "--skip_missing"):
        assert name in str(error.value)
    prepared = prepare(request_of("rte", "cb", skip_missing=True))
    assert set(prepared.missing) == {("cb", "cb")}
    assert set(prepared.open_tokens()) == {"rte"}
    with pytest.raises(UnusableSource, match="cb"):
        prepare(request_of("cb", skip_missing=True))


def test_no_data_folder(request_of, tmp_path):
    with pytest.raises(FileNotFoundError, match="no data folder at"):
        prepare(request_of(data_dir=tmp_path / "nowhere", skip_missing=True))
    assert not (tmp_path / "cache").exists()


def test_a_vocabulary_that_confuses_options(request_of, tmp_path):
    import tokenizers
    from tokenizers import models, pre_tokenizers

    words = {"<unk>": 0, "<end>": 1, "\n": 2}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(words, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    (tmp_path / "config.json").write_text('{"eos_token_id": 1}')
    with pytest.raises(ValueError, match="options 'yes' and 'no' of rte get the same tokens"):
        prepare(request_of(vocabulary=tmp_path / "tokenizer.json"))
    assert not (tmp_path / "cache" / "tokens").exists()


def test_a_full_disk_keeps_what_is_finished(request_of, tmp_path, monkeypatch):
    monkeypatch.setattr(cache.TaskCacheWriter.__init__, "__defaults__", (20,))
    written = []

    def full_after_one(path, content, original=atomic.write_file):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        original(path, content)

    prepare(request_of(vocabulary=None))
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_file", full_after_one)
        with pytest.raises(OSError, match=r"no space left in .* What is finished is kept"):
            prepare(request_of(), workers=1)
    left = [p.name for p in (tmp_path / "cache/tokens/rte").rglob("*") if p.is_file()]
    assert left == ["shard-00000.npz"]
    done = []
    original = prepare_jobs.tokens_job

    def counted(request, item, shard):
        done.append(shard)
        return original(request, item, shard)

    monkeypatch.setattr(prepare_module, "tokens_job", counted)
    prepare(request_of(), workers=1)
    assert done == [1, 2]


KILLED = """
import sys
from flan.cli.main import main
from flan.data.cache import TaskCacheWriter
TaskCacheWriter.__init__.__defaults__ = (100,)
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_preparation_is_taken_up(demo_data_dir, tmp_path, vocabulary, monkeypatch):
    request = Request(
        *(("rte", "anli", "arc"), tmp_path / "cache", demo_data_dir),
        vocabulary=vocabulary,
        epochs=40,
    )
    command = [sys.executable, "-c", KILLED, "prepare", *arguments(request), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    # One cache is done and another begun. `glob`, unlike Path.rglob, bears with folders that
    # vanish meanwhile.
    wanted = [str(tmp_path / f"cache/tokens/*/{p}") for p in (f"*/{MANIFEST}", ".*/*-00003.npz")]
    while not all(map(glob.glob, wanted)):
        assert time.monotonic() < deadline
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    done = list((tmp_path / "cache" / "tokens").glob(f"*/*/{MANIFEST}"))
    shards = {(p.parent, p.name) for p in kept if p.suffix == ".npz"}
    assert len(shards) >= 4

    monkeypatch.setattr(cache.TaskCacheWriter.__init__, "__defaults__", (100,))
    written = []

    def write_shard(writer, number, *rest, original=cache.TaskCacheWriter.write_shard):
        written.append((writer.partial, f"shard-{number:05d}.npz"))
        original(writer, number, *rest)

    monkeypatch.setattr(cache.TaskCacheWriter, "write_shard", write_shard)
    prepared = prepare(request, workers=1)
    assert written
    assert shards.isdisjoint(written)
    assert 0 < len(done) < len(prepared.tokens)
    finished = {*prepared.rows.values(), *(p.parent for p in done)}
    before = [p for p in kept if p.parent in finished]
    assert before
    assert all(kept[p] == p.stat().st_mtime_ns for p in before)
    reference = dataclasses.replace(request, cache_dir=tmp_path / "reference")
    prepare(reference, workers=1)
    assert files(tmp_path / "cache") == files(tmp_path / "reference")


def test_ensuring_works_in_another_process(request_of, tmp_path):
    prepared = ensure_prepared(request_of("rte", epochs=2), workers=1)
    assert prepared == find_prepared(request_of("rte", epochs=2))
    assert len(prepared.open_tokens()["rte"][0]) == 96


def test_errors_of_the_other_process_arrive(request_of, demo_data_dir, tmp_path):
    shutil.copytree(demo_data_dir / "super_glue", tmp_path / "data" / "super_glue")
    file = next((tmp_path / "data").rglob("*-train.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match="record 59 is damaged or cut off"):
        ensure_prepared(request_of(data_dir=tmp_path / "data"))


def test_a_user_s_own_dataset_is_prepared_here(request_of, monkeypatch):
    theirs = get_dataset("rte").to_fields

    def own(row):
        return theirs(row) if row["idx"] % 2 else None

    mine = dataclasses.replace(get_dataset("rte"), to_fields=own)
    monkeypatch.setitem(registry._DATASETS, "rte", mine)
    prepared = ensure_prepared(request_of())
    assert prepared.open_tokens()["rte"][0].num_rows == 24


def test_a_dataset_whose_rows_are_all_dropped(request_of, monkeypatch):
    nothing = dataclasses.replace(get_dataset("rte"), to_fields=lambda row: None)
    monkeypatch.setitem(registry._DATASETS, "rte", nothing)
    (tokens,) = prepare(request_of()).open_tokens()["rte"]
    assert (len(tokens), tokens.num_rows, tokens.rows_found) == (0, 0, 48)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": ("train", "valid")}, "unknown split 'valid'"),
        ({"splits": ()}, "no splits are asked for; name some of train, dev, test"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"rate": 0}, "rate must be 1 or more"),
        ({"input_length": 1}, "2 or more"),
        ({"rendering": "no_optionss"}, "unknown rendering"),
        ({"datasets": ("rte", "arc"), "template": "t1"}, "belongs to one dataset"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        Request(**{"datasets": ("rte",), "cache_dir": tmp_path, **changes})


def test_a_split_that_is_named_twice_is_prepared_once(request_of, tmp_path):
    request = request_of(splits=("train", "train", "dev"))
    assert request.splits == ("train", "dev")
    prepare(request, workers=1)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_file_systems_without_locks(tmp_path, monkeypatch, code):
    def flock(file, operation):
        raise OSError(code, "no locks here")

    monkeypatch.setattr(cache_lock.fcntl, "flock", flock)
    with cache_lock.preparing(tmp_path):
        pass


def test_requests_as_flags(tmp_path):
    request = Request(
        ("rte", "arc"), Path("-c"), tmp_path / "d e", epochs=3, skip_missing=True, rate=9
    )
    flags = arguments(request)
    assert flags[:2] == ["--datasets=rte,arc", "--splits=train,dev,test"]
    assert {"--cache_dir=-c", "--rate=9"} < set(flags)
    assert flags[-1] == "--skip_missing"
    assert "vocabulary" not in str(flags)
    parser = __import__("argparse").ArgumentParser()
    from flan.cli import prepare as command

    command.add_arguments(parser)
    assert command.request_of(parser.parse_args(flags)) == request


@pytest.mark.real_data
def test_real_data_of_every_cluster(real_data, tmp_path, vocabulary):
    names = ("wnli", "copa", "mrpc", "sst2", "arc", "common_gen", "wmt16_roen", "squad", "record")
    names += ("wsc", "coqa", "cnn_dailymail")
    request = Request(names, tmp_path, real_data, vocabulary=vocabulary)
    prepared = prepare(request)
    tokens = prepared.open_tokens()
    assert set(tokens) == set(names)
    assert all(cache.num_rows for caches in tokens.values() for cache in caches)
