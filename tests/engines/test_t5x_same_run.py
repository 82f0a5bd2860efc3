"""The same run through T5X and through ours: losses at every step, scores by both evaluators.

Both engines read the same batches from the same parameters (`t5x_run_reference`).
"""

from __future__ import annotations

import json

import gin
import jax
import numpy as np
import pytest
import t5x_run_reference as reference
from flax.traverse_util import unflatten_dict

from flan.checkpoints.manager import quiet_orbax
from flan.cli.main import main
from flan.data import seqio_tasks
from flan.data.vocabulary import train_sentencepiece
from flan.partitioning import MeshConfig, make_mesh
from flan.training.metrics import read_metrics
from flan.training.optimizer import make_optimizer
from flan.training.state import TrainState
from flan.training.step import StepConfig, make_train_step, put_batch

quiet_orbax()
NO_T5X = "T5X is not installed (docs/t5x.md)"


@pytest.mark.parametrize("steps", [20, pytest.param(reference.STEPS, marks=pytest.mark.slow)])
def test_losses_are_those_that_t5x_had(steps):
    with np.load(reference.GOLDEN) as file:
        kept = {name: file[name] for name in file.files}
    params = unflatten_dict(
        {
            tuple(name.split("/")[1:]): values
            for name, values in kept.items()
            if name.startswith("params/")
        }
    )
    tx = make_optimizer(reference.OPTIMIZER)
    config = MeshConfig(data=1)
    mesh = make_mesh(config, jax.devices()[:1])
    step = make_train_step(reference.MODEL, tx, StepConfig(), mesh, config)
    state = TrainState(np.int32(0), params, jax.jit(tx.init)(params))
    losses = []
    for number in range(steps):
        state, metrics = step(state, put_batch(reference.restored(kept, number), mesh))
        losses.append(metrics["loss"])
    np.testing.assert_allclose(np.array(losses), kept["losses"][:steps], rtol=0, atol=1e-4)
    assert kept["losses"][-20:].mean() < kept["losses"][0] - 0.5  # it learned


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("same_run") / "v"
    train_sentencepiece(reference.TEXT, out, 320, shrink=True)
    return out


@pytest.mark.slow
def test_the_tiny_model_through_both_engines(small_demo, vocabulary, tmp_path, monkeypatch):
    pytest.importorskip("t5x", reason=NO_T5X)
    monkeypatch.setenv("XLA_FLAGS", "")  # of T5X's process: one device
    monkeypatch.setattr(seqio_tasks, "_settings", seqio_tasks.Settings())
    lengths = ["--input_length=96", "--target_length=16"]
    folders = [f"--data_dir={small_demo}", f"--cache_dir={tmp_path / 'caches'}"]
    common = [
        *("train", "--gin_file=configs/runs/finetune.gin", "--gin_file=configs/models/tiny.gin"),
        *folders,
        f"--vocabulary={vocabulary}",
        "--gin.MIXTURE_OR_TASK_NAME=flan_loo_nli",
        *("--gin.DATA=seqio", "--gin.ON_MISSING=skip", f"--gin.BATCH_SIZE={8}"),
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 96, 'targets': 16}",
        "--gin.ModelConfig.num_heads=8",  # T5X's evaluation splits them over 8 devices
        *("--gin.LOG_PERIOD=1", "--gin.EVAL_PERIOD=0", "--gin.LEARNING_RATE=0.0003"),
    ]
    base, t5x, ours = (tmp_path / name for name in ("base", "t5x", "ours"))
    assert main([*common, "--gin.TRAIN_STEPS=1", f"--model_dir={base}"]) == 0
    start = [*common, f"--gin.INITIAL_CHECKPOINT_PATH={base}", "--gin.TRAIN_STEPS=200"]
    assert main([*start, f"--model_dir={t5x}", "--engine=t5x"]) == 0
    assert main([*start, f"--model_dir={ours}"]) == 0
    losses = [[m["loss"] for m in read_metrics(run / "metrics.jsonl")] for run in (t5x, ours)]
    assert [len(found) for found in losses] == [200, 200]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-4)

    # Our evaluator on both, T5X's on its own checkpoint.
    scores = {}
    for run in (t5x, ours):
        out = tmp_path / f"results_{run.name}"
        command = ["eval", str(run), "--datasets=rte,sst2", "--splits=dev", f"--out={out}"]
        assert main([*command, "--seen=mark", *lengths, *folders]) == 0
        scores[run.name] = template_scores(out, "t0")
    assert scores["t5x"] == scores["ours"]
    theirs = {}
    for dataset in ("rte", "sst2"):
        theirs[dataset] = t5x_accuracy(
            f"flan_{dataset}_t0_rank",
            t5x / "t5x" / "checkpoint_200",
            small_demo,
            vocabulary,
            tmp_path,
        )
    assert theirs == pytest.approx(scores["t5x"])


def template_scores(results, template):
    """Dataset -> accuracy through one template, of the cells of a results folder."""
    found = {}
    for path in results.rglob("*.json"):
        cell = json.loads(path.read_text())
        if isinstance(cell, dict) and cell.get("id", {}).get("template") == template:
            found[cell["id"]["dataset"]] = cell["metrics"]["accuracy"]
    return found


def t5x_accuracy(task, checkpoint, data, vocabulary, folder):
    """What T5X's inference evaluator reports of a task."""
    from flan.engines import t5x as engine

    try:
        engine.run(
            "eval",
            ["configs/t5x/eval.gin", "configs/models/tiny.gin"],
            [
                f"DATA_DIR = {str(data)!r}",
                f"VOCABULARY = {str(vocabulary)!r}",
                "TASK_FEATURE_LENGTHS = {'inputs': 96, 'targets': 16}",
                "ModelConfig.num_heads = 8",
                f"CHECKPOINT_PATH = {str(checkpoint)!r}",
                f"EVAL_OUTPUT_DIR = {str(folder / 'scores')!r}",
                f"MIXTURE_OR_TASK_NAME = {task!r}",
            ],
        )
    finally:
        gin.clear_config()
        seqio_tasks.configure()
    lines = (folder / "scores" / "inference_eval" / f"{task}-metrics.jsonl").read_text()
    return json.loads(lines.splitlines()[-1])["accuracy"]
