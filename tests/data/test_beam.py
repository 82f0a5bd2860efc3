"""The Beam pipeline, run in this process; skipped where Apache Beam is not installed."""

import subprocess
import sys

import pytest

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (the extra `beam`)")

import apache_beam as beam
from apache_beam.metrics import MetricsFilter

from flan.cli.main import main
from flan.data import cache, fleet
from flan.data.beam import add_steps, prepare_with_beam
from flan.data.beam_options import parse_options
from flan.data.cache_plan import Request, plan_rows
from flan.data.fleet import Orders, phrasing_key
from flan.data.prepare import prepare
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
    def make(*datasets, cache="beam", **changes):
        fields = {"data_dir": demo_data_dir, "vocabulary": vocabulary, **changes}
        return Request(datasets or ("rte",), tmp_path / cache, **fields)

    return make


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache.TaskCacheWriter.__init__, "__defaults__", (40,))


def files(folder):
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


REQUESTS = {
    "several sources and epochs": (("rte", "anli"), {"epochs": 3}),
    "few-shot": (("rte", "anli", "arc"), {"rendering": "2shot", "splits": ("train",)}),
    "rows only": (("xsum",), {"vocabulary": None}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bytes_are_those_of_prepare(request_of, tmp_path, name):
    datasets, changes = REQUESTS[name]
    found = prepare_with_beam(request_of(*datasets, **changes))
    reference = prepare(request_of(*datasets, cache="alone", **changes), workers=1)
    assert files(tmp_path / "beam") == files(tmp_path / "alone")
    assert found.tokens.keys() == reference.tokens.keys()
    assert found.rows.keys() == reference.rows.keys()


def test_the_bytes_do_not_depend_on_the_runner(request_of, tmp_path):
    prepare_with_beam(request_of("anli", epochs=2), ["--runner=BundleBasedDirectRunner"])
    prepare(request_of("anli", epochs=2, cache="alone"), workers=1)
    assert files(tmp_path / "beam") == files(tmp_path / "alone")


def test_several_processes(request_of, tmp_path):
    """As on a fleet, nothing of this process is there but what the elements carry."""
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    prepare_with_beam(request_of("rte", "arc"), flags)
    prepare(request_of("rte", "arc", cache="alone"), workers=1)
    assert files(tmp_path / "beam") == files(tmp_path / "alone")


def test_finished_shards_are_kept(request_of, tmp_path, monkeypatch):
    original = cache.TaskCacheWriter.write_shard

    def fails_at_last(writer, number, *rest):
        if number == 3:
            raise OSError(5, "Input/output error")
        original(writer, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(cache.TaskCacheWriter, "write_shard", fails_at_last)
        with pytest.raises(OSError, match="Input/output error"):
            prepare_with_beam(request_of(epochs=4))
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "beam").rglob("shard-*.npz")}
    assert kept
    written = []

    def counted(writer, number, *rest):
        written.append(f"shard-{number:05d}.npz")
        original(writer, number, *rest)

    monkeypatch.setattr(cache.TaskCacheWriter, "write_shard", counted)
    prepare_with_beam(request_of(epochs=4))
    assert set(written) == {f"shard-{n:05d}.npz" for n in range(5)} - kept.keys()
    prepare(request_of(epochs=4, cache="alone"), workers=1)
    assert files(tmp_path / "beam") == files(tmp_path / "alone")


def test_bundles_that_are_done_again(request_of, tmp_path, monkeypatch):
    """Each step fails once after its work; this runner gives a bundle four tries."""
    failed = set()

    def fails_once(name):
        step = getattr(fleet.FleetWorker, name)

        def flaky(worker, *element):
            result = step(worker, *element)
            if name not in failed:
                failed.add(name)
                raise OSError(5, "Input/output error")
            return result

        return flaky

    for name in ("rows", "plan", "tokens", "finish"):
        monkeypatch.setattr(fleet.FleetWorker, name, fails_once(name))
    prepare_with_beam(request_of("rte", "anli"), ["--runner=BundleBasedDirectRunner"])
    assert failed == {"rows", "plan", "tokens", "finish"}
    prepare(request_of("rte", "anli", cache="alone"), workers=1)
    assert files(tmp_path / "beam") == files(tmp_path / "alone")


def test_work_is_counted(request_of, tmp_path):
    request = request_of(epochs=2)
    rows, _ = plan_rows(request)
    (tmp_path / "run").mkdir()
    orders = Orders(request, tmp_path / "run", (), {"rte": phrasing_key(request, "rte")})
    pipeline = beam.Pipeline(options=parse_options([]))
    add_steps(pipeline, orders, rows)
    result = pipeline.run()
    found = result.metrics().query(MetricsFilter().with_namespace("flan"))["counters"]
    counts = {counter.key.metric.name: counter.committed for counter in found}
    assert counts == {"rows": 80, "datasets": 1, "examples": 96, "caches": 1}


def test_errors_are_those_of_prepare(request_of, demo_data_dir, tmp_path):
    import shutil

    with pytest.raises(UnusableSource, match="super_glue/cb"):
        prepare_with_beam(request_of("rte", "cb"))
    shutil.copytree(demo_data_dir / "super_glue", tmp_path / "data" / "super_glue")
    file = next((tmp_path / "data").rglob("*-train.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"train\.tfrecord.*record 59 is damaged or cut off"):
        prepare_with_beam(request_of(data_dir=tmp_path / "data"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runer=FlinkRunner"], r"unknown Beam option '--runer'\. Did you mean '--runner'"),
        (["--runner=FlinkRunner", "words"], "unknown Beam option 'words'"),
        (["--direct_num_workers=x"], "invalid int value: 'x'"),
        (["--runner=FlinRunner"], "Unexpected pipeline runner: FlinRunner"),
        (["--runner=no.such.module.Runner"], "Beam cannot load the runner"),
    ],
)
def test_options_that_make_no_sense(request_of, tmp_path, flags, message):
    with pytest.raises(ValueError, match=message):
        prepare_with_beam(request_of(), flags)
    assert not (tmp_path / "beam").exists()


def test_options_of_other_languages_are_passed_on(capsys):
    options = parse_options(["--runner=FlinkRunner", "--objectReuse=true"])
    assert "passed on to FlinkRunner unread: --objectReuse=true" in capsys.readouterr().err
    assert options.get_all_options(retain_unknown_options=True)["objectReuse"] == "true"


def test_from_the_command_line(demo_data_dir, vocabulary, tmp_path, capsys):
    command = ["prepare", "--datasets", "rte", "--data_dir", str(demo_data_dir)]
    command += ["--vocabulary", str(vocabulary)]
    assert main([*command, "--cache_dir", str(tmp_path / "alone")]) == 0
    table = capsys.readouterr().out
    beam_flags = ["--beam", "--cache_dir", str(tmp_path / "beam")]
    assert main([*command, *beam_flags]) == 0
    assert capsys.readouterr().out == table
    assert files(tmp_path / "beam") == files(tmp_path / "alone")
    assert main([*command, *beam_flags, "--beam=--runer=x"]) == 2
    assert "Did you mean '--runner'" in capsys.readouterr().err


def test_no_tensorflow_is_loaded():
    code = "import sys, flan.data.beam; assert not {'tensorflow', 'jax'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
