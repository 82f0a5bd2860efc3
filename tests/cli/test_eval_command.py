"""`flan eval` on a tiny checkpoint and cached demo rows."""

import csv
import json
import shutil

import jax
import jax.numpy as jnp
import pytest

from flan.catalog.clusters import cluster_of, training_datasets
from flan.catalog.registry import get_dataset
from flan.catalog.splits import Slice
from flan.checkpoints import layout
from flan.checkpoints.manager import CheckpointManager
from flan.cli.main import main
from flan.data.cache_keys import cache_folder, rows_identity
from flan.data.example_rows import demo_examples
from flan.data.row_cache import write_row_cache
from flan.data.row_prints import prints_of, text_of
from flan.data.training_record import (
    ReadDataset,
    ReadRun,
    ReadSource,
    TrainingRecord,
    TrainingRows,
    write_record,
)
from flan.data.vocabulary import train_sentencepiece
from flan.models.config import ModelConfig
from flan.training.state import TrainState, init_params

LENGTHS = ["--input_length", "64", "--target_length", "8"]


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """(model folder, cache folder) with rows of RTE and CB."""
    root = tmp_path_factory.mktemp("eval")
    texts = []
    for name in ("rte", "cb"):
        dataset = get_dataset(name)
        examples = [e.fields for e in demo_examples(dataset, 60)]
        texts += [text for fields in examples for text in fields.values.values()]
        for split, start in (("dev", 0), ("test", 4), ("train", 8)):
            piece = Slice("validation", start, start + 4)
            identity = rows_identity(dataset, dataset.sources[0], split, piece, "made up")
            path = cache_folder(root / "cache", "rows", identity)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_row_cache(path, identity, enumerate(examples[start : start + 4]))
    model = root / "model"
    model.mkdir()
    vocabulary = train_sentencepiece(texts, model / "vocabulary", 500, shrink=True)
    config = ModelConfig(
        vocab_size=0, num_layers=1, d_model=16, num_heads=2, d_head=8, d_ff=32
    ).for_vocabulary(vocabulary.vocab_size)
    layout.write_model_config(model, config)
    manager = CheckpointManager(model)
    params = init_params(config, jax.random.key(0))
    metadata = {"vocabulary_fingerprint": vocabulary.fingerprint}
    manager.save(TrainState(jnp.int32(3), params, {"count": jnp.int32(3)}), metadata)
    manager.close()
    return model, root / "cache"


@pytest.fixture
def no_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def flan_eval(setup, tmp_path, no_data_folder):
    """Runs `flan eval MODEL ...` into `tmp_path / "out"`; gives exit code."""
    model, cache = setup

    def call(*flags, checkpoint=model):
        places = ["--cache_dir", str(cache), "--out", str(tmp_path / "out")]
        return main(["eval", str(checkpoint), *places, *LENGTHS, *flags])

    return call


def test_it_prints_a_table_and_writes_results(flan_eval, tmp_path, capsys):
    assert flan_eval("--datasets", "rte,cb", "--templates", "t0,t1", "--name", "tiny") == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert {"nli", "rte", "cb"} <= lines.keys()
    assert "tiny, instructions: 8 cells, in" in printed
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rte = summary["checkpoints"]["tiny"]["modes"]["instructions"]["datasets"]["rte"]
    test = rte["splits"]["test"]
    assert f"{test['mean']:.1f} ± {test['std']:.1f}" in lines["rte"]
    assert rte["best_dev"]["template"] in lines["rte"]
    assert len(list((tmp_path / "out").glob("tiny/instructions/*/*/*.jsonl"))) == 8

    assert (
        flan_eval("--datasets", "nli", "--skip_missing", "--templates", "t0", "--name", "tiny") == 0
    )
    assert "4 of them finished before" in capsys.readouterr().out


def test_json_is_the_summary(flan_eval, tmp_path, capsys):
    flags = (
        "--datasets",
        "rte",
        "--mode",
        "baseline",
        "--splits",
        "test",
        "--limit",
        "2",
        "--json",
    )
    assert flan_eval(*flags) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed["checkpoint"] == "model-3"
    assert printed["modes"]["baseline"]["datasets"]["rte"]["splits"]["test"]["rows"] == 2


def test_checkpoints_and_modes_are_scored_in_turn(setup, flan_eval, tmp_path, capsys):
    model, cache = setup
    places = ["--cache_dir", str(cache), "--out", str(tmp_path / "out"), *LENGTHS]
    flags = ["--datasets", "rte", "--splits", "test", "--templates", "t0", "--name", "a,b"]
    command = ["eval", str(model), str(model), *places, *flags]
    assert main([*command, "--mode", "instructions,no_options,2shot"]) == 0
    printed = capsys.readouterr().out
    for label in "ab":
        for mode in ("instructions", "no_options", "2shot"):
            assert f"{label}, {mode}: 1 cells" in printed
            (path,) = (tmp_path / "out" / label / mode).rglob("*.json")
            assert json.loads(path.read_text())["counts"]["rows"] == 4
    assert main([*command, "--mode", "2shot", "--seed", "1", "--json"]) == 0
    assert [entry["checkpoint"] for entry in json.loads(capsys.readouterr().out)] == ["a", "b"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--datasets", "rtee"), "Did you mean 'rte'"),
        (("--datasets", "nly"), "Did you mean 'nli'"),
        (("--datasets", ","), "no datasets"),
        (("--datasets", "snli"), "snli: no rows"),
        (("--datasets", "rte", "--templates", "t99"), "unknown template of rte"),
        (("--datasets", "rte", "--splits", "train"), "unknown split 'train'"),
        (("--datasets", "rte", "--mode", "basline"), "Did you mean 'baseline'"),
        (("--datasets", "rte", "--mode", "text"), "mode 'text' has no answers"),
        (("--datasets", "rte", "--mode", "0shot"), "give 1 to 64"),
        (
            ("--datasets", "rte", "--mode", "no_template", "--templates", "t0"),
            "leave the templates",
        ),
        (("--datasets", "rte", "--name", "a,b"), "for 1 checkpoints"),
        (("--datasets", "rte", "--mode", ","), "names no mode"),
        (("--datasets", "rte", "--templates", ","), "names none"),
        (("--datasets", "rte", "--name", "summary.json"), "is the name of a file"),
        (("--datasets", "rte", "--score", "summ"), "Did you mean 'sum'"),
        (("--datasets", "rte", "--limit", "0"), "limit of 0"),
        (("--datasets", "rte", "--batch_rows", "0"), "positive"),
        (("--datasets", "rte", "--data_dir", "/none/such"), "no data folder"),
        (("--datasets", "rte", "--step", "4"), "no checkpoint of step 4"),
        (("--datasets", "rte", "--name", "a/b"), "cannot name a file"),
    ],
)
def test_mistakes_exit_with_one_line(flan_eval, tmp_path, capsys, flags, message):
    assert flan_eval(*flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_two_checkpoints_of_one_name_are_refused(setup, no_data_folder, tmp_path, capsys):
    model, _ = setup
    other = shutil.copytree(model, tmp_path / "elsewhere" / model.name)
    out = ["--out", str(tmp_path / "out")]
    assert main(["eval", str(model), str(other), "--datasets", "rte", *out]) == 2
    assert "may get the same name in results" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_checkpoint(flan_eval, tmp_path, capsys):
    assert flan_eval("--datasets", "rte", checkpoint=tmp_path / "nowhere") == 2
    assert "no checkpoint at" in capsys.readouterr().err


def test_selftest_needs_no_data(flan_eval, tmp_path, capsys):
    assert flan_eval("--selftest", "--limit", "1", "--devices", "1", "--batch_rows", "1") == 0
    printed = capsys.readouterr().out
    assert "one row in a batch" in printed
    assert "self-test passed" in printed
    assert not (tmp_path / "out").exists()
    assert flan_eval("--selftest", "--devices", "99") == 2
    assert "99 devices were asked for" in capsys.readouterr().err


# What the checkpoint was trained on

FEW = ("--datasets", "rte", "--splits", "test", "--templates", "t0", "--name", "tiny")


@pytest.fixture
def trained_on(setup, tmp_path):
    """Gives a copy of the model that says it was trained on these datasets and texts."""
    model, _ = setup

    def make(names, texts=()):
        datasets = []
        for name in names:
            source = ReadSource(name, f"{name}:1.0.0", "train[0:9]", 9, 0, 8, "ab", "cd")
            datasets.append(ReadDataset(name, cluster_of(name), ("t0",), (source,)))
        run = ReadRun("instructions", ",".join(names), "instructions", 9, "ef", tuple(datasets))
        copy = shutil.copytree(model, tmp_path / "copy", dirs_exist_ok=True)
        write_record(copy, TrainingRecord((run,)), TrainingRows.of([prints_of(texts)]))
        return copy

    return make


def cell(out):
    (path,) = (out / "tiny").rglob("test-t0.json")
    return json.loads(path.read_text())


def test_an_honest_leave_one_out_model_is_scored_and_its_copied_rows_are_counted(
    flan_eval, trained_on, tmp_path, capsys
):
    examples = [e.fields for e in demo_examples(get_dataset("rte"), 60)]
    # Evaluated are rows 4 to 7: one of them copied, one with a word changed, and others.
    near = text_of(examples[6]).split()
    near[3] = "else"
    texts = [text_of(examples[5]).upper(), " ".join(near), text_of(examples[30])]
    honest = trained_on(training_datasets("nli"), texts)
    assert flan_eval(*FEW, checkpoint=honest) == 0
    printed = capsys.readouterr().out
    assert "seen" not in printed
    assert "unknown" not in printed
    (summary,) = json.loads((tmp_path / "out" / "summary.json").read_text())["checkpoints"].values()
    training = summary["modes"]["instructions"]["datasets"]["rte"]["training"]
    counts = training["rows"]["test"]
    assert (training["status"], counts["rows"], counts["exact"]) == ("unseen", 4, 1)
    assert counts["near"] >= 1
    assert f"rte test 1 exactly and {counts['near']} nearly of 4" in printed
    assert cell(tmp_path / "out")["details"]["training"] == "unseen"


def test_a_held_out_dataset_that_slipped_in_is_refused_or_marked(
    flan_eval, trained_on, tmp_path, capsys
):
    leaky = trained_on([*training_datasets("nli"), "mrpc"])
    assert flan_eval(*FEW, checkpoint=leaky) == 2
    error = capsys.readouterr().err
    assert "mrpc: of paraphrase, which overlaps with the evaluated cluster nli" in error
    assert "--seen mark" in error
    assert not (tmp_path / "out").exists()
    assert flan_eval(*FEW, "--seen", "mark", checkpoint=leaky) == 0
    assert "rte (seen in training)" in capsys.readouterr().out
    assert cell(tmp_path / "out")["details"]["training"] == "seen"
    assert main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    assert "(seen)" in printed
    assert "trained on, or on what overlaps with, rte" in printed
    assert "seen in training" in (tmp_path / "report" / "report.html").read_text()
    (row,) = csv.DictReader((tmp_path / "report" / "report.csv").open())
    assert row["training"] == "seen"


def test_of_a_model_without_a_record_it_is_said_that_nothing_is_known(flan_eval, tmp_path, capsys):
    assert flan_eval(*FEW) == 0
    assert "tiny: training data unknown" in capsys.readouterr().out
    assert cell(tmp_path / "out")["details"]["training"] == "unknown"


def test_rows_that_are_gone_are_told_of(flan_eval, trained_on, tmp_path, capsys):
    model = trained_on(["sst2"])
    (model / "training_rows.npz").write_bytes(b"damaged")
    assert flan_eval(*FEW, checkpoint=model) == 0
    assert "training rows are not compared" in capsys.readouterr().err
    entry = json.loads((tmp_path / "out" / "tiny" / "checkpoint.json").read_text())
    assert entry["training"]["rows"] == {}
