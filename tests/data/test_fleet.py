"""Preparing on many machines, played by threads of this process; no Beam here."""

import dataclasses
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flan.catalog import registry
from flan.catalog.registry import get_dataset
from flan.data import atomic, cache, fleet, fleet_launch
from flan.data.cache_plan import Request, plan_rows
from flan.data.fleet import FleetWorker, Orders
from flan.data.fleet_launch import prepare_on_fleet
from flan.data.prepare import find_prepared, prepare
from flan.data.rows import UnusableSource
from flan.data.vocabulary import train_sentencepiece


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    texts = ["The dog is in the park. OPTIONS:\n- yes\n- no\n"] * 20
    train_sentencepiece(texts, out, 320, shrink=True)
    return out


@pytest.fixture
def request_of(demo_data_dir, tmp_path, vocabulary):
    def make(*datasets, cache="fleet", **changes):
        fields = {"data_dir": demo_data_dir, "vocabulary": vocabulary, **changes}
        return Request(datasets or ("rte",), tmp_path / cache, **fields)

    return make


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache.TaskCacheWriter.__init__, "__defaults__", (40,))


def files(folder):
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


class Machines:
    """Does the steps in any order, `times` times each, on a few threads at once."""

    def __init__(self, times=1, threads=1):
        self.times = times
        self.threads = threads
        self.done = {"rows": [], "plan": [], "tokens": [], "finish": []}

    def __call__(self, orders, rows):
        self._all(orders, "rows", [(item,) for item in rows])
        datasets = {item.dataset: [i for i in rows if i.dataset == item.dataset] for item in rows}
        plans = self._all(orders, "plan", [(items,) for items in datasets.values()])
        shards = list({(item.path, s): (item, s) for plan in plans for item, s in plan}.values())
        self._all(orders, "tokens", shards)
        self._all(orders, "finish", [(i,) for i in {i.path: i for i, _ in shards}.values()])

    def _all(self, orders, step, work):
        work = [each for each in work for _ in range(self.times)]
        random.Random(0).shuffle(work)
        with ThreadPoolExecutor(self.threads) as pool:
            results = list(pool.map(lambda each: getattr(FleetWorker(orders), step)(*each), work))
        self.done[step] += results
        return results


REQUESTS = {
    "several sources and epochs": (("rte", "anli"), {"epochs": 3}),
    "a rate": (("rte", "anli"), {"epochs": 4, "rate": 50, "splits": ("train",)}),
    "few-shot": (("rte", "arc"), {"rendering": "2shot"}),
    "rows only": (("xsum",), {"vocabulary": None}),
    "evaluation splits": (("xsum", "rte"), {"splits": ("dev", "test")}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bytes_are_those_of_prepare(request_of, tmp_path, name):
    datasets, changes = REQUESTS[name]
    found = prepare_on_fleet(request_of(*datasets, **changes), Machines())
    reference = prepare(request_of(*datasets, cache="alone", **changes), workers=1)
    assert files(tmp_path / "fleet") == files(tmp_path / "alone")
    assert {k: p.name for k, p in found.tokens.items()} == {
        k: p.name for k, p in reference.tokens.items()
    }
    assert {k: p.name for k, p in found.rows.items()} == {
        k: p.name for k, p in reference.rows.items()
    }


def test_steps_done_twice_at_once_do_no_harm(request_of, tmp_path):
    prepare_on_fleet(request_of("rte", "anli", epochs=3), Machines(times=3, threads=4))
    prepare(request_of("rte", "anli", epochs=3, cache="alone"), workers=1)
    assert files(tmp_path / "fleet") == files(tmp_path / "alone")
    assert [p.name for p in (tmp_path / "fleet").iterdir() if p.name.startswith(".fleet")] == []


def test_a_step_that_comes_too_late_does_no_harm(request_of, tmp_path):
    class Late(Machines):
        def __call__(self, orders, rows):
            super().__call__(orders, rows)
            worker = FleetWorker(orders)
            ((item, shard), *_) = worker.plan(rows)
            fleet.ShardWriter(orders.request).write(item, shard)  # it was begun before the end
            assert worker.tokens(item, shard) == 0
            assert worker.finish(item) == item.num_rows

    prepare_on_fleet(request_of(), Late())
    prepare(request_of(cache="alone"), workers=1)
    assert files(tmp_path / "fleet") == files(tmp_path / "alone")


def test_what_is_done_is_not_done_again(request_of):
    first = Machines()
    prepared = prepare_on_fleet(request_of("rte", "anli", epochs=2), first)
    assert sum(first.done["tokens"]) == 2 * (48 + 3 * 60)
    again = Machines()
    assert prepare_on_fleet(request_of("rte", "anli", epochs=2), again) == prepared
    assert not again.done["plan"]
    other = Machines()
    prepare_on_fleet(request_of("rte", "anli", epochs=2, seed=1), other)
    assert sum(other.done["rows"]) == 0
    assert sum(other.done["tokens"]) == sum(first.done["tokens"])


def test_finished_shards_are_kept_after_an_error_and_by_prepare(request_of, tmp_path, monkeypatch):
    write_shard = cache.TaskCacheWriter.write_shard
    written = []

    def fails_at_last(writer, number, *rest):
        if number == 3:
            raise OSError(5, "Input/output error")
        written.append(number)
        write_shard(writer, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(cache.TaskCacheWriter, "write_shard", fails_at_last)
        with pytest.raises(OSError, match="Input/output error"):
            prepare_on_fleet(request_of(epochs=4), Machines())
    assert written
    counted = []

    def count(writer, number, *rest):
        counted.append(number)
        write_shard(writer, number, *rest)

    monkeypatch.setattr(cache.TaskCacheWriter, "write_shard", count)
    prepare(request_of(epochs=4), workers=1)
    assert sorted(written + counted) == [0, 1, 2, 3, 4]
    prepare(request_of(epochs=4, cache="alone"), workers=1)
    assert files(tmp_path / "fleet") == files(tmp_path / "alone")


def test_lost_and_damaged_shards_are_written_when_they_are_joined(request_of, tmp_path):
    class Damaged(Machines):
        def _all(self, orders, step, work):
            if step == "finish":
                lost, cut, *_ = sorted(orders.request.cache_dir.rglob("shard-*.npz"))
                lost.unlink()
                cut.write_bytes(cut.read_bytes()[:50])
                with pytest.raises(ValueError, match="was damaged"):
                    FleetWorker(orders).finish(*work[0])
            return super()._all(orders, step, work)

    prepare_on_fleet(request_of(epochs=2), Damaged())
    prepare(request_of(epochs=2, cache="alone"), workers=1)
    assert files(tmp_path / "fleet") == files(tmp_path / "alone")


def test_a_full_disk(request_of, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    prepare_on_fleet(request_of(vocabulary=None), Machines())
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_file", full)  # not even the report can be written
        with pytest.raises(OSError, match=r"no space left in .* What is finished is kept"):
            prepare_on_fleet(request_of(), Machines())
    prepare_on_fleet(request_of(), Machines())
    prepare(request_of(cache="alone"), workers=1)
    assert files(tmp_path / "fleet") == files(tmp_path / "alone")


def test_mistakes_are_said_before_any_work(request_of, tmp_path):
    def never(orders, rows):
        raise AssertionError

    with pytest.raises(UnusableSource, match="super_glue/cb"):
        prepare_on_fleet(request_of("rte", "cb"), never)
    with pytest.raises(FileNotFoundError, match="no vocabulary at"):
        prepare_on_fleet(request_of(vocabulary=tmp_path / "none"), never)
    with pytest.raises(ValueError, match="is an address"):
        prepare_on_fleet(dataclasses.replace(request_of(), cache_dir=Path("gs://bucket")), never)
    assert not (tmp_path / "fleet").exists()


def test_a_vocabulary_that_confuses_options(request_of, tmp_path):
    import tokenizers
    from tokenizers import models, pre_tokenizers

    words = {"<unk>": 0, "<end>": 1, "\n": 2}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(words, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    (tmp_path / "config.json").write_text('{"eos_token_id": 1}')
    machines = Machines()
    with pytest.raises(ValueError, match="options 'yes' and 'no' of rte get the same tokens"):
        prepare_on_fleet(request_of(vocabulary=tmp_path / "tokenizer.json"), machines)
    assert not machines.done["rows"]


def test_missing_sources_can_be_left_out(request_of):
    prepared = prepare_on_fleet(request_of("rte", "cb", skip_missing=True), Machines())
    assert set(prepared.missing) == {("cb", "cb")}
    assert set(prepared.open_tokens()) == {"rte"}


def test_errors_are_those_of_the_machines(request_of, monkeypatch):
    class Vague(Machines):
        def __call__(self, orders, rows):
            for item in rows:
                with pytest.raises(ValueError, match="to_fields fails"):
                    FleetWorker(orders).rows(item)
            raise RuntimeError("job 17 failed")

    def broken(row):
        raise KeyError("premise")

    broken.__module__ = "flan.catalog.nli"  # as if it were ours
    mine = dataclasses.replace(get_dataset("rte"), to_fields=broken)
    monkeypatch.setitem(registry._DATASETS, "rte", mine)
    with pytest.raises(ValueError, match=r"to_fields fails on row 0 of super_glue/rte") as error:
        prepare_on_fleet(request_of(), Vague())
    assert str(error.value).count("to_fields fails") == 3
    assert "job 17 failed" in str(error.value)


def test_a_runner_that_fails_for_reasons_of_its_own(request_of):
    def fails(orders, rows):
        raise RuntimeError("no machine to be had")

    with pytest.raises(OSError, match="the run failed: no machine to be had"):
        prepare_on_fleet(request_of(), fails)


def test_folders_that_other_machines_do_not_see(request_of, tmp_path, monkeypatch):
    def elsewhere(orders, rows):
        FleetWorker(dataclasses.replace(orders, run_dir=tmp_path / "none")).rows(rows[0])

    with pytest.raises(OSError, match="on a file system that all machines mount"):
        prepare_on_fleet(request_of(), elsewhere)
    monkeypatch.setattr(fleet_launch, "_PATIENCE_S", 0)
    with pytest.raises(OSError, match="the run ended, but not all of its caches are in"):
        prepare_on_fleet(request_of(), lambda orders, rows: None)


def test_machines_with_another_version(request_of):
    request = request_of()
    rows, _ = plan_rows(request)
    request.cache_dir.mkdir()
    orders = Orders(request, request.cache_dir, (), {"rte": "another"})
    other = dataclasses.replace(rows[0], path=rows[0].path.with_name("rte-train-0123456789abcdef"))
    with pytest.raises(ValueError, match="runs another version of flan"):
        FleetWorker(orders).rows(other)
    for item in rows:
        FleetWorker(orders).rows(item)
    with pytest.raises(ValueError, match="install the same version of flan on all"):
        FleetWorker(orders).plan(rows)


def test_a_user_s_own_dataset_comes_with_its_module(request_of, tmp_path, monkeypatch):
    theirs = get_dataset("rte").to_fields

    def own(row):
        return theirs(row)

    monkeypatch.setitem(
        registry._DATASETS, "rte", dataclasses.replace(get_dataset("rte"), to_fields=own)
    )
    told = []

    def look(orders, rows):
        told.append(orders.modules)
        Machines()(orders, rows)

    prepare_on_fleet(request_of(), look)
    assert told == [(__name__,)]
    own.__module__ = "__main__"
    with pytest.raises(ValueError, match="registered by the program itself"):
        prepare_on_fleet(request_of(cache="other"), look)


def test_modules_are_imported_where_the_work_is_done(tmp_path):
    (tmp_path / "their_datasets.py").write_text("raise ValueError('imported')")
    code = f"""
from pathlib import Path
from flan.data.cache_plan import Request
from flan.data.fleet import FleetWorker, Orders
folder = Path({str(tmp_path)!r})
orders = Orders(Request(("rte",), folder, folder), folder, ("their_datasets",))
FleetWorker(orders).plan([])
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(tmp_path)!r}){code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ValueError: imported" in done.stderr
    assert len(list(tmp_path.glob("error-*.json"))) == 1


def test_another_preparation_waits(request_of, capfd):
    request = request_of(vocabulary=None, splits=("dev",))
    inside, go_on = threading.Event(), threading.Event()

    def slow(orders, rows):
        inside.set()
        assert go_on.wait(60)
        Machines()(orders, rows)

    first = threading.Thread(target=prepare_on_fleet, args=(request, slow))
    first.start()
    assert inside.wait(60)
    second = threading.Thread(target=prepare, args=(request,))
    second.start()
    said, deadline = "", time.monotonic() + 60
    while "another preparation is at work" not in said:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        said += capfd.readouterr().err
    assert not list(request.cache_dir.glob("rows/*"))
    go_on.set()
    for thread in (first, second):
        thread.join(60)
    assert find_prepared(request)


def test_relative_folders_mean_the_same_everywhere(request_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = dataclasses.replace(request_of(), cache_dir=Path("relative"))

    def look(orders, rows):
        monkeypatch.chdir("/")
        Machines()(orders, rows)

    prepared = prepare_on_fleet(request, look)
    assert all(p.is_relative_to(tmp_path / "relative") for p in prepared.rows.values())
