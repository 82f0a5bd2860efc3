"""`flan train` as its users see it: what it writes, how it goes on, how it refuses."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from flan.checkpoints import layout
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.record import checkpoint_record
from flan.cli.main import main
from flan.cli.train import EXIT_NON_FINITE, EXIT_PREEMPTED
from flan.data.receipt import Receipt
from flan.data.training_record import read_record, read_rows
from flan.data.vocabulary import load_vocabulary, train_sentencepiece
from flan.training.metrics import read_metrics

STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """The same small step is compiled by nearly every test here."""
    names = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in names.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
        del os.environ[name.upper()]
    compilation_cache.reset_cache()


TINY = ["--gin.ModelConfig.num_layers=1", "--gin.ModelConfig.d_model=16"]
TINY += ["--gin.ModelConfig.num_heads=2", "--gin.ModelConfig.d_head=8", "--gin.ModelConfig.d_ff=32"]
LENGTHS = "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}"


@pytest.fixture(scope="module")
def flags(small_demo, tmp_path_factory):
    """All flags of a small run but its MODEL_DIR."""
    return [
        "train",
        "--gin_file=configs/runs/finetune.gin",
        "--gin_file=configs/models/tiny.gin",
        *TINY,
        LENGTHS,
        f"--data_dir={small_demo}",
        f"--cache_dir={tmp_path_factory.mktemp('caches')}",
        "--gin.MIXTURE_OR_TASK_NAME=rte,sst2",
        f"--gin.TRAIN_STEPS={STEPS}",
        "--gin.SAVE_PERIOD=2",
        "--gin.LOG_PERIOD=2",
        "--gin.RENDERINGS=2",
        "--gin.InstructionData.vocab_size=400",
        "--gin.LEARNING_RATE=0.01",
    ]


@pytest.fixture(scope="module")
def trained(flags, tmp_path_factory):
    """The model folder of a finished run; not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*flags, f"--model_dir={folder}"]) == 0
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def final_arrays(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the newest checkpoint, the optimizer's included, by path."""
    import orbax.checkpoint as ocp

    step = max(int(p.name) for p in (folder / layout.CHECKPOINTS).iterdir())
    state = ocp.StandardCheckpointer().restore(folder / layout.CHECKPOINTS / str(step) / "state")
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same(one: Path, two: Path) -> None:
    first, second = final_arrays(one), final_arrays(two)
    assert first.keys() == second.keys()
    assert len([key for key in first if "opt_state" in key]) > 5
    for key, array in first.items():
        assert array.dtype == second[key].dtype
        assert np.array_equal(array, second[key]), key


# What a run leaves


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


def test_training_starts_from_a_checkpoint_whose_sizes_need_not_be_told(
    flags, trained, tmp_path, capsys
):
    run = tmp_path / "run"
    # A learning rate of nearly nothing shows the parameters that the run started from.
    start = [f"--gin.INITIAL_CHECKPOINT_PATH={trained}/checkpoints/4", "--gin.MODEL=None"]
    few = ["--gin.TRAIN_STEPS=1", "--gin.LEARNING_RATE=1e-30"]
    few += ["--gin.MIXTURE_OR_TASK_NAME=trec"]
    assert main([*flags, *start, *few, f"--model_dir={run}"]) == 0
    assert layout.read_model_config(run) == layout.read_model_config(trained)
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


# Interrupted runs, in processes of their own


def start(flags: list[str], folder: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "flan.cli.main", *flags, f"--model_dir={folder}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until(process: subprocess.Popen, happened) -> None:
    deadline = time.monotonic() + 600
    while not happened():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def checkpoints(folder: Path) -> list[str]:
    path = folder / layout.CHECKPOINTS
    return [p.name for p in path.iterdir()] if path.is_dir() else []


def newest(folder: Path) -> int:
    return max((int(name) for name in checkpoints(folder) if name.isdigit()), default=0)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_bit_identical(flags, tmp_path):
    kills = int(os.environ.get("FLAN_KILLS", "2"))  # 20 make a soak of it
    steps = 12 * kills
    flags = [*flags, f"--gin.TRAIN_STEPS={steps}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*flags, f"--model_dir={whole}", f"--gin.SAVE_PERIOD={steps}"]) == 0

    rng = random.Random(kills)

    def saving() -> bool:
        return newest(parts) > reached and any(not name.isdigit() for name in checkpoints(parts))

    def going() -> bool:
        return newest(parts) >= reached + further

    def at_any_time() -> bool:
        return time.monotonic() > started + seconds

    for number in range(kills):
        reached, started = newest(parts), time.monotonic()
        moment = (saving, going, at_any_time)[number % 3]
        further, seconds = rng.randint(1, 5), rng.uniform(0, 30)
        process = start(flags, parts, "--gin.SAVE_PERIOD=1")
        wait_until(process, moment)
        time.sleep(0.0 if moment is saving else rng.uniform(0, 0.15))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert newest(parts) < steps
        assert newest(parts) > reached or moment is at_any_time
        print(
            f"kill {number + 1} ({moment.__name__}): step {reached} to {newest(parts)}", flush=True
        )

    assert main([*flags, f"--model_dir={parts}", "--gin.SAVE_PERIOD=1"]) == 0
    assert all(name.isdigit() for name in checkpoints(parts))
    assert_same(whole, parts)
    logged = [line["step"] for line in read_metrics(parts / layout.METRICS_FILE)]
    assert logged == list(range(1, steps + 1))


def test_sigterm_saves_and_asks_to_be_called_again(flags, trained, tmp_path):
    run = tmp_path / "run"
    process = start(flags, run, "--gin.TRAIN_STEPS=100000", "--gin.SAVE_PERIOD=100000")
    metrics = run / layout.METRICS_FILE
    wait_until(process, lambda: metrics.is_file() and metrics.stat().st_size)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_PREEMPTED, output
    assert "run the same command to go on" in output
    stopped = newest(run)
    assert f"saved at step {stopped}" in output
    assert stopped >= 1
    assert main([*flags, f"--model_dir={run}", f"--gin.TRAIN_STEPS={stopped + 1}"]) == 0
    assert newest(run) == stopped + 1


def test_sigterm_while_data_is_prepared_ends_with_the_same_code(flags, tmp_path):
    caches, run = tmp_path / "caches", tmp_path / "run"
    process = start([*flags, f"--cache_dir={caches}"], run)
    wait_until(process, (caches / ".prepare.lock").exists)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_PREEMPTED, output
    assert "before the first step; what is prepared is kept; run the same command" in output
    assert not run.exists()


# Mistakes


def refused(argv, folder, capsys) -> str:
    """Runs what must be refused; gives the message."""
    before = sorted(folder.rglob("*")) if folder.exists() else None
    capsys.readouterr()
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert (sorted(folder.rglob("*")) if folder.exists() else None) == before
    message = error[error.index("flan: error: ") :]
    return message.removeprefix("flan: error: ").strip()


MISTAKES = {
    "gin file": ("--gin_file=configs/runs/finetun.gin", "unknown gin file", "finetune.gin'"),
    "setting": ("--gin.TRAIN_STEP=5", "unknown setting 'TRAIN_STEP'", "Did you mean 'TRAIN_STEPS'"),
    "parameter": ("--gin.ModelConfig.foo=1", "unknown setting of ModelConfig 'foo'", "d_model"),
    "configurable": ("--gin.ModelConfg.d_model=1", "ModelConfg", "Did you mean 'ModelConfig'"),
    "binding": ("--gin_bindings=TRAIN_STEPS", "'TRAIN_STEPS' is not of the form", "NAME=VALUE"),
    "word for a number": ("--gin.TRAIN_STEPS=many", "steps must be int, got 'many'"),
    "word for a model": ("--gin.MODEL=tiny", "RunConfig.model must be ModelConfig or None"),
    "no steps": ("--gin.TRAIN_STEPS=0", "steps must be 1 or more, got 0"),
    "no model": ("--gin.MODEL=None", "no model: give --gin_file=configs/models/"),
    "dataset": ("--gin.MIXTURE_OR_TASK_NAME=flan_rtee", "'flan_rtee'", "Did you mean 'flan_rte'"),
    "mixture": ("--gin.MIXTURE_OR_TASK_NAME=flan_loo_nil", "Did you mean 'flan_loo_nli'"),
    "template": ("--gin.MIXTURE_OR_TASK_NAME=flan_rte_t77", "unknown template of rte 't77'", "t0"),
    "data folder": ("--data_dir=/no/such", "no data folder at /no/such"),
    "absent": ("--gin.MIXTURE_OR_TASK_NAME=rte,cb", "super_glue/cb", "--gin.ON_MISSING=skip"),
    "on missing": ("--gin.ON_MISSING=ignore", "'error' or 'skip', got 'ignore'"),
    "vocabulary": ("--vocabulary=/no/such", "no vocabulary at /no/such"),
    "checkpoint": ("--gin.INITIAL_CHECKPOINT_PATH=/no/such", "/no/such: no such folder"),
    "mesh": ("--gin.MeshConfig.data=3", "[3, 1, 1] needs 3 devices, there are 8"),
    "batch": ("--gin.BATCH_SIZE=6", "a batch of 6 rows", "BATCH_SIZE a multiple"),
    "microbatches": ("--gin.StepConfig.microbatches=3", "3 microbatches"),
    "heads over devices": ("--gin.MeshConfig.model=4", "cannot be split over 4 devices"),
    "lengths": ("--gin.TASK_FEATURE_LENGTHS={'inputs': 64}", "'inputs' and 'targets'", "1024"),
    "short": ("--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 1}", "lengths must be 2"),
    "on damaged": ("--gin.ON_DAMAGED=skip", "'error' or 'previous', got 'skip'"),
    "optimizer": ("--gin.OptimizerConfig.name=adamm", "adamm", "adafactor"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(flags, tmp_path, capsys, mistake):
    flag, *told = MISTAKES[mistake]
    message = refused([*flags, f"--model_dir={tmp_path / 'run'}", flag], tmp_path / "run", capsys)
    for text in told:
        assert text in message
    if mistake != "absent":  # which lists the sources
        assert "\n" not in message


def test_a_run_without_a_folder_is_refused(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(flags, tmp_path, capsys)
    assert message == "MODEL_DIR must be set: add --gin.MODEL_DIR=VALUE"


def test_a_setting_without_a_value_is_refused(flags, tmp_path, capsys):
    message = refused([*flags, "--gin.MODEL_DIR"], tmp_path, capsys)
    assert message == "--gin.MODEL_DIR lacks a value: write --gin.MODEL_DIR=VALUE"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ModelConfig.d_model=32", "d_model is 16 there, 32 here"),
        ("ModelConfig.positions=rope", "positions is 'relative' there, 'rope' here"),
        ("MIXTURE_OR_TASK_NAME=rte", "on another data"),
        ("SEED=1", "on another data"),
        ("BATCH_SIZE=16", "on another data"),
        ("OptimizerConfig.name=adamw", "(name is 'adafactor' there, 'adamw' here)"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(flags, copy, capsys, setting, told):
    longer = [*flags, f"--model_dir={copy}", "--gin.TRAIN_STEPS=8", f"--gin.{setting}"]
    message = refused(longer, copy, capsys)
    assert told in message
    assert str(copy) in message


@pytest.fixture(scope="module")
def other_vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary") / "other"
    train_sentencepiece(["The dog is in the park.\n- yes\n- no"] * 20, folder, 320, shrink=True)
    return folder


def test_a_run_does_not_go_on_with_another_vocabulary(flags, copy, capsys, other_vocabulary):
    own = f"--gin.ModelConfig.vocab_size={layout.read_model_config(copy).vocab_size}"
    more = [own, "--gin.TRAIN_STEPS=8", f"--vocabulary={other_vocabulary}"]
    message = refused([*flags, f"--model_dir={copy}", *more], copy, capsys)
    assert "on another vocabulary" in message
    # Nor before the first checkpoint: the copy beside it would be the wrong one.
    shutil.rmtree(copy / layout.CHECKPOINTS)
    message = refused([*flags, f"--model_dir={copy}", *more], copy, capsys)
    assert "on another vocabulary" in message


def test_initial_checkpoints_that_do_not_fit(flags, trained, tmp_path, capsys, other_vocabulary):
    run = tmp_path / "run"
    base = [*flags, f"--model_dir={run}", f"--gin.INITIAL_CHECKPOINT_PATH={trained}"]
    message = refused([*base, "--gin.ModelConfig.d_ff=64"], run, capsys)
    assert "d_ff is 32 there, 64 here" in message
    assert "--gin.MODEL=None" in message
    message = refused([*base, f"--vocabulary={other_vocabulary}"], run, capsys)
    assert "was trained with another vocabulary" in message
    assert "no checkpoint of step 5; it has [2, 4, 6]" in refused(
        [*base, f"--gin.INITIAL_CHECKPOINT_PATH={trained}/checkpoints/5"], run, capsys
    )
    assert "has no model.json" in refused(
        [*base, f"--gin.INITIAL_CHECKPOINT_PATH={tmp_path}"], run, capsys
    )


def test_a_damaged_newest_checkpoint_is_refused_or_set_aside(flags, trained, copy, capsys):
    (data,) = (copy / layout.CHECKPOINTS / "6" / "state").glob("ocdbt.process_0/d")
    largest = max(data.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 4
    largest.write_bytes(content)
    base = [*flags, f"--model_dir={copy}"]
    message = refused(base, copy, capsys)
    assert f"{copy}/checkpoints/6 cannot be read" in message
    assert "go on from step 4, run the same command with --gin.ON_DAMAGED=previous" in message

    assert main([*base, "--gin.ON_DAMAGED=previous"]) == 0
    assert "going on from step 4" in capsys.readouterr().err
    assert (copy / layout.DAMAGED / "6").is_dir()
    assert_same(trained, copy)
    steps = [line["step"] for line in read_metrics(copy / layout.METRICS_FILE)]
    assert steps == [2, 4, 6]


def test_nothing_is_moved_where_no_checkpoint_is_sound(flags, copy, capsys):
    for step in (copy / layout.CHECKPOINTS).iterdir():
        shutil.rmtree(step / "state")
    base = [*flags, f"--model_dir={copy}", "--gin.ON_DAMAGED=previous"]
    assert "none of the checkpoints" in refused(base, copy, capsys)


def test_a_damaged_initial_checkpoint(flags, copy, tmp_path, capsys):
    (data,) = (copy / layout.CHECKPOINTS / "6" / "state").glob("ocdbt.process_0")
    shutil.rmtree(data)
    run = tmp_path / "run"
    start = f"--gin.INITIAL_CHECKPOINT_PATH={copy}"
    message = refused([*flags, f"--model_dir={run}", start], run, capsys)
    assert "checkpoints/6 cannot be read" in message
    assert "step 4 is the one before it" in message


def test_the_program_works_from_any_folder(flags, tmp_path):
    # In the repository, `configs/` would be found without being looked for.
    command = [sys.executable, "-m", "flan.cli.main", *flags, "--model_dir=run", "--print_config"]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "MODEL_DIR = 'run'" in done.stdout
