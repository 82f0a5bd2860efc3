"""`flan train` as its users see it: what a run writes, and how it goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from flan.checkpoints import layout
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.record import checkpoint_record
from flan.cli.main import main
from flan.cli.train import EXIT_NON_FINITE
from flan.data.receipt import Receipt
from flan.data.training_record import read_record, read_rows
from flan.data.vocabulary import load_vocabulary
from flan.testing.runs import assert_same
from flan.training.metrics import read_metrics


def test_a_run_writes_all_that_belongs_to_it(trained):
    steps = sorted(int(p.name) for p in (trained / layout.CHECKPOINTS).iterdir())
    assert steps == [2, 4, 6]
    assert "TRAIN_STEPS = 6" in (trained / layout.CONFIG_FILE).read_text()
    assert layout.read_model_config(trained).d_model == 16
    lines = read_metrics(trained / layout.METRICS_FILE)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[-1]["loss"] < lines[0]["loss"]
    checkpoint = load_for_inference(trained)
    assert checkpoint.step == 6
    vocabulary = load_vocabulary(checkpoint.vocabulary_dir)
    assert checkpoint.metadata["vocabulary_fingerprint"] == vocabulary.fingerprint
    assert checkpoint.metadata["gin"] == (trained / layout.CONFIG_FILE).read_text()


def test_the_receipt_tells_what_was_read(trained):
    receipt = Receipt.from_json(json.loads((trained / layout.RECEIPT_FILE).read_text()))
    assert receipt.hash == load_for_inference(trained).metadata["receipt_hash"]
    assert [line.dataset for line in receipt.lines] == ["rte", "sst2"]
    tokens = sum(line["tokens_per_step"] * 2 for line in read_metrics(trained / "metrics.jsonl"))
    assert sum(line.tokens for line in receipt.lines) == round(tokens)
    for line in receipt.lines:
        assert (line.found, line.kept, line.rate) == (48, 48, 48)
        assert line.observed == pytest.approx(line.expected, abs=15)


def test_the_record_of_training_data_is_in_the_folder_and_in_each_checkpoint(trained):
    found = read_record(trained)
    (run,) = found.runs
    assert (run.data, run.mixture, run.steps, found.unknown) == ("instructions", "rte,sst2", 6, ())
    assert [d.dataset for d in run.datasets] == ["rte", "sst2"]
    for step in (2, 4, 6):
        assert checkpoint_record(trained, step) == found
    assert len(read_rows(trained, found).rows)


def test_a_conversion_there_and_back_keeps_the_record(trained, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    assert main(["convert", str(trained), str(there), "--to", "t5x"]) == 0
    (step,) = (p for p in there.iterdir() if p.is_dir() and p.name.startswith("checkpoint_"))
    words = ["--vocabulary", str(trained / layout.VOCABULARY)]
    assert main(["convert", str(step), str(back), *words]) == 0
    found = checkpoint_record(back)
    assert found == checkpoint_record(trained)
    assert len(read_rows(back, found).rows)


def test_the_written_config_alone_gives_the_same_run_again(trained, tmp_path):
    config = (trained / layout.CONFIG_FILE).read_text()
    (tmp_path / "again.gin").write_text(config.replace(str(trained), str(tmp_path / "run")))
    assert main(["train", f"--gin_file={tmp_path / 'again.gin'}"]) == 0
    assert_same(trained, tmp_path / "run")


def test_a_second_call_has_nothing_to_do_and_a_longer_run_goes_on(flags, trained, copy, capsys):
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    assert main([*flags, f"--model_dir={copy}"]) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before

    assert main([*flags, f"--model_dir={copy}", "--gin.TRAIN_STEPS=8"]) == 0
    captured = capsys.readouterr()
    assert "resuming" in captured.err
    assert "trained to step 8" in captured.out
    assert load_for_inference(copy).step == 8
    assert json.loads((copy / layout.RECEIPT_FILE).read_text())["steps"] == 8
    steps = [line["step"] for line in read_metrics(copy / layout.METRICS_FILE)]
    assert steps == [2, 4, 6, 8]
    # Asked for fewer steps than there are, it still tells of all of them.
    assert main([*flags, f"--model_dir={copy}"]) == 0
    assert read_record(copy).runs[0].steps == 8
    assert json.loads((copy / layout.RECEIPT_FILE).read_text())["steps"] == 8


def test_training_starts_from_a_checkpoint_whose_sizes_need_not_be_told(
    flags, trained, copy, tmp_path, capsys
):
    run = tmp_path / "run"
    # A learning rate of nearly nothing shows the parameters that the run started from.
    start = [f"--gin.INITIAL_CHECKPOINT_PATH={copy}/checkpoints/4", "--gin.MODEL=None"]
    few = ["--gin.TRAIN_STEPS=1", "--gin.LEARNING_RATE=1e-30"]
    few += ["--gin.MIXTURE_OR_TASK_NAME=trec", "--gin.ModelConfig.dropout_rate=0.1"]
    assert main([*flags, *start, *few, f"--model_dir={run}"]) == 0
    like = dataclasses.replace(layout.read_model_config(trained), dropout_rate=0.1)
    assert layout.read_model_config(run) == like
    # So that the same command goes on, and the written configuration gives the same run again.
    assert "ModelConfig.dropout_rate = 0.1" in (run / layout.CONFIG_FILE).read_text()
    first, source = load_for_inference(run), load_for_inference(trained, step=4)
    assert first.step == 1
    pairs = zip(jax.tree.leaves(first.params), jax.tree.leaves(source.params), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    # It is known that what came before was trained on RTE, so NLI is not unseen.
    record = checkpoint_record(run)
    assert [r.mixture for r in record.runs] == ["rte,sst2", "trec"]
    known = read_rows(run, record).rows.tolist()
    assert set(known) > set(read_rows(trained, checkpoint_record(trained)).rows.tolist())
    capsys.readouterr()
    for dataset in ("rte", "cb", "mrpc"):
        assert main(["eval", str(run), "--datasets", dataset, "--out", str(tmp_path / "o")]) == 2
        assert "rte" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    # It goes on when that checkpoint is gone.
    shutil.rmtree(copy)
    assert main([*flags, *start, *few, "--gin.TRAIN_STEPS=2", f"--model_dir={run}"]) == 0
    assert [r.steps for r in checkpoint_record(run).runs] == [6, 2]


def test_print_config_prints_and_stops(flags, tmp_path, capsys):
    assert main([*flags, f"--model_dir={tmp_path / 'run'}", "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert "TRAIN_STEPS = 6" in printed
    assert "ModelConfig.d_model = 16" in printed
    assert not (tmp_path / "run").exists()


def test_dev_scores_change_nothing_in_training(flags, trained, tmp_path):
    run = tmp_path / "run"
    evaluate = ["--gin.EVAL_PERIOD=3", "--gin.EVAL_ROWS=8", "--gin.KEEP_BEST=True"]
    assert main([*flags, *evaluate, f"--model_dir={run}"]) == 0
    assert_same(trained, run)
    lines = [line for line in read_metrics(run / layout.METRICS_FILE) if "eval/mean/loss" in line]
    assert [line["step"] for line in lines] == [3, 6]
    for line in lines:
        for kind in ("loss", "accuracy"):
            scores = [line[f"eval/{name}/{kind}"] for name in ("rte", "sst2")]
            assert line[f"eval/mean/{kind}"] == pytest.approx(sum(scores) / 2)
        assert not any("trec" in name for name in line)
    best = max(lines, key=lambda line: (line["eval/mean/accuracy"], -line["eval/mean/loss"]))
    assert load_for_inference(run, "best").step == best["step"]


def test_datasets_that_are_not_there_may_be_left_out_and_stand_in_the_receipt(
    flags, tmp_path, capsys
):
    skip = ["--gin.MIXTURE_OR_TASK_NAME=rte,cb,sst2", "--gin.ON_MISSING=skip"]
    few = ["--gin.TRAIN_STEPS=1", f"--model_dir={tmp_path / 'run'}"]
    assert main([*flags, *skip, *few]) == 0
    error = capsys.readouterr().err
    assert "LEFT OUT:\n- cb needs" in error
    assert "1 sources are not on disk" in error
    lines = json.loads((tmp_path / "run" / layout.RECEIPT_FILE).read_text())["lines"]
    rates = {line["dataset"]: (line["rate"], line["observed"]) for line in lines}
    assert list(rates) == ["rte", "cb", "sst2"]
    assert rates["cb"] == (0, 0)
    assert rates["rte"][0] == 48


def test_pretraining_on_raw_text(flags, tmp_path):
    gin = ["--gin_file=configs/runs/pretrain.gin", "--gin_file=configs/models/tiny.gin"]
    own = [f for f in flags[1:] if "gin_file" not in f and "RENDER" not in f and "vocab" not in f]
    run = tmp_path / "run"
    assert main(["train", *gin, *own, "--gin.TextData.vocab_size=400", f"--model_dir={run}"]) == 0
    lines = read_metrics(run / layout.METRICS_FILE)
    assert lines[-1]["loss"] < lines[0]["loss"]
    receipt = json.loads((run / layout.RECEIPT_FILE).read_text())
    assert [line["dataset"] for line in receipt["lines"]] == ["rte", "sst2"]
    assert all(line["observed"] for line in receipt["lines"])


def test_a_loss_that_is_no_number_has_an_exit_code_of_its_own(flags, tmp_path, capsys):
    bad = ["--gin.LEARNING_RATE=1e38", "--gin.OptimizerConfig.warmup_steps=0"]
    name = "--gin.OptimizerConfig.name=adamw"
    code = main([*flags, *bad, name, f"--model_dir={tmp_path / 'run'}"])
    assert code == EXIT_NON_FINITE
    assert "data.batch(" in capsys.readouterr().err


def test_the_program_works_from_any_folder(flags, tmp_path):
    # In the repository, `configs/` would be found without being looked for.
    command = [sys.executable, "-m", "flan.cli.main", *flags, "--model_dir=run", "--print_config"]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "MODEL_DIR = 'run'" in done.stdout
