"""`flan train --gin.DATA=seqio`: straight from seqio's tasks, ours and a user's own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from flan.checkpoints import layout
from flan.cli.main import main
from flan.data import stream_rows
from flan.data.receipt import Receipt
from flan.data.training_record import read_record
from flan.data.vocabulary import train_sentencepiece
from flan.training.metrics import read_metrics

STEPS = 16
TASKS = """
import functools
import seqio
import tensorflow as tf
from flan.data.seqio_vocabulary import SeqioVocabulary

def dataset(split, shuffle_files=False, seed=None):
    numbers = tf.data.Dataset.range(500)
    return numbers.map(lambda n: {
        "inputs": tf.strings.join(["twice ", tf.strings.as_string(n)]),
        "targets": tf.strings.as_string(2 * n),
    })

def noisy(dataset):  # without a seed of its own
    return dataset.map(lambda e: {
        **e,
        "inputs": tf.strings.join([e["inputs"], tf.strings.as_string(tf.random.uniform([]))]),
    })

words = seqio.Feature(SeqioVocabulary(VOCABULARY))
seqio.TaskRegistry.add(
    "doubling",
    source=seqio.FunctionDataSource(dataset, ["train"]),
    preprocessors=[noisy, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos_after_trim],
    output_features={"inputs": words, "targets": words},
)
seqio.MixtureRegistry.add("doubling_and_rte", [("doubling", 1), ("flan_rte", 2)])
"""


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    text = "The dog is in the park. OPTIONS:\n- yes\n- no\n"
    train_sentencepiece([text] * 20, out, 320, shrink=True)
    return out


@pytest.fixture
def flags(small_demo, vocabulary, tmp_path):
    """All flags of a small run but its MODEL_DIR."""
    return [
        "train",
        "--gin_file=configs/runs/finetune.gin",
        "--gin_file=configs/models/tiny.gin",
        "--gin.ModelConfig.num_layers=1",
        "--gin.ModelConfig.d_model=16",
        "--gin.ModelConfig.num_heads=2",
        "--gin.ModelConfig.d_head=8",
        "--gin.ModelConfig.d_ff=32",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}",
        f"--data_dir={small_demo}",
        f"--cache_dir={tmp_path / 'cache'}",
        f"--vocabulary={vocabulary}",
        "--gin.DATA=seqio",
        "--gin.MIXTURE_OR_TASK_NAME=rte,sst2",
        f"--gin.TRAIN_STEPS={STEPS}",
        "--gin.SAVE_PERIOD=1",
        "--gin.LOG_PERIOD=2",
        "--gin.LEARNING_RATE=0.01",
    ]


def receipt(folder: Path) -> Receipt:
    return Receipt.from_json(json.loads((folder / layout.RECEIPT_FILE).read_text()))


def test_one_setting_makes_a_run_read_from_seqio(
    flags, tmp_path, server_threads, monkeypatch, capsys
):
    monkeypatch.setattr(stream_rows, "WINDOW", 200)
    run = tmp_path / "run"
    assert main([*flags, f"--model_dir={run}", "--gin.SAVE_PERIOD=4"]) == 0
    lines = read_metrics(run / layout.METRICS_FILE)
    assert lines[-1]["loss"] < lines[0]["loss"]
    found = receipt(run)
    assert [(v.dataset, v.found, v.rate) for v in found.lines] == [
        ("rte", 48, 48),
        ("sst2", 48, 48),
    ]
    tokens = sum(line["tokens_per_step"] * 2 for line in lines)
    assert sum(line.tokens for line in found.lines) == round(tokens)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["prints"]  # nothing was prepared
    assert [d.rows for d in read_record(run).runs[0].datasets] == [48, 48]

    assert main([*flags, f"--model_dir={run}"]) == 0
    assert "nothing to do" in capsys.readouterr().err
    more = ["--gin.TRAIN_STEPS=20", "--gin.SEED=1"]
    assert main([*flags, f"--model_dir={run}", *more]) == 2
    assert "on another data" in capsys.readouterr().err
    assert main([*flags, f"--model_dir={run}", "--gin.TRAIN_STEPS=18"]) == 0
    assert receipt(run).steps == 18


MISTAKES = {
    "source": ("DATA=seqo", "unknown DATA 'seqo'. Did you mean 'seqio'"),
    "name": ("MIXTURE_OR_TASK_NAME=flan_rtee", "Did you mean 'flan_rte'", "--gin.SEQIO_MODULES="),
    "module": ("SEQIO_MODULES=no_such", "cannot import the module 'no_such' of SEQIO_MODULES"),
    "absent": ("MIXTURE_OR_TASK_NAME=rte,cb", "super_glue/cb", "--gin.ON_MISSING=skip"),
    "lengths": ("TASK_FEATURE_LENGTHS={'targets': 64}", "must give 'inputs' and 'targets'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_and_leaves_nothing(flags, tmp_path, capsys, server_threads, mistake):
    setting, *told = MISTAKES[mistake]
    assert main([*flags, f"--model_dir={tmp_path / 'run'}", f"--gin.{setting}"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for text in told:
        assert text in error
    assert not (tmp_path / "run").exists()


# In processes of their own

NO_TENSORFLOW = """
import sys
from flan.cli.main import main
code = main(sys.argv[1:])
assert "tensorflow" not in sys.modules and "seqio" not in sys.modules
sys.exit(code)
"""


def start(flags: list[str], cwd: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", NO_TENSORFLOW, *flags]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def steps(folder: Path) -> list[int]:
    path = folder / layout.CHECKPOINTS
    return [int(p.name) for p in path.iterdir() if p.name.isdigit()] if path.is_dir() else []


def final_arrays(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the newest checkpoint, the optimizer's included, by path."""
    path = folder / layout.CHECKPOINTS / str(max(steps(folder))) / "state"
    leaves = jax.tree_util.tree_leaves_with_path(ocp.StandardCheckpointer().restore(path))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


@pytest.mark.slow
def test_a_killed_run_on_a_user_s_tasks_ends_bit_identical(flags, vocabulary, tmp_path):
    (tmp_path / "users_tasks.py").write_text(f"VOCABULARY = {str(vocabulary)!r}\n{TASKS}")
    flags += ["--gin.SEQIO_MODULES=users_tasks", "--gin.MIXTURE_OR_TASK_NAME=doubling_and_rte"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = start([*flags, f"--model_dir={whole}"], tmp_path)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output

    process = start([*flags, f"--model_dir={parts}"], tmp_path)
    deadline = time.monotonic() + 600
    while max(steps(parts), default=0) < 5:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.communicate()
    reached = max(steps(parts))
    assert 5 <= reached < STEPS
    process = start([*flags, f"--model_dir={parts}"], tmp_path)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "resuming" in output

    first, second = final_arrays(whole), final_arrays(parts)
    assert first.keys() == second.keys()
    for key, array in first.items():
        assert np.array_equal(array, second[key]), key
    assert receipt(whole) == receipt(parts)
    rates = {line.dataset: (line.rate, line.observed) for line in receipt(whole).lines}
    assert list(rates) == ["doubling", "rte"]
    assert 0 < rates["doubling"][1] < rates["rte"][1]
    losses = [line["loss"] for line in read_metrics(whole / layout.METRICS_FILE)]
    assert losses == [line["loss"] for line in read_metrics(parts / layout.METRICS_FILE)]
