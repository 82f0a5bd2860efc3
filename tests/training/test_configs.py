"""The shipped gin files: each parses, builds, and takes a step when made small."""

from __future__ import annotations

import dataclasses
import functools
import math

import gin
import jax
import pytest

from flan import gin_edge
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig, make_mesh
from flan.resources import resource_dir
from flan.testing.tiny import EchoData
from flan.training.configurables import CONFIGURABLES
from flan.training.data import InstructionData, TextData
from flan.training.optimizer import make_optimizer
from flan.training.settings import RunConfig
from flan.training.state import create_state
from flan.training.step import make_train_step, put_batch

CONFIGS = resource_dir("configs")
MODELS = sorted(path.stem for path in (CONFIGS / "models").glob("*.gin"))
# `train` is what the others include, `demo_experiment` goes on top of an experiment's.
NO_RUNS = {"train", "demo_experiment"}
RUNS = sorted({path.stem for path in (CONFIGS / "runs").glob("*.gin")} - NO_RUNS)
CONFIGURABLE = gin_edge.register(CONFIGURABLES)
# Parameters, embeddings aside, of the models whose files promise some.
BILLIONS = {"2b": 2.1, "8b": 8.6, "68b": 68.7, "137b": 137.4, "125m": 0.08, "422m": 0.37}
SHRUNK = {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_head": 8, "d_ff": 32}


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    gin.clear_config()


def build(run: str, model: str | None = None, *bindings: str) -> RunConfig:
    files = [f"configs/runs/{run}.gin"] + ([f"configs/models/{model}.gin"] if model else [])
    gin_edge.parse(files, ["MODEL_DIR=somewhere", *bindings])
    return gin_edge.build(CONFIGURABLE["RunConfig"])


def test_there_are_files():
    assert {"tiny", "demo", *BILLIONS} <= set(MODELS)
    assert {"finetune", "pretrain"} <= set(RUNS)


@pytest.mark.parametrize("run", RUNS)
def test_every_run_config_builds(run):
    config = build(run)
    assert isinstance(config, RunConfig)
    assert isinstance(config.model, ModelConfig)
    assert isinstance(config.data, (InstructionData, TextData))
    assert len(config.data.task.datasets) == 62
    assert config.model_dir == "somewhere"


def test_the_demo_of_experiments_shortens_a_run():
    config = build("finetune", "../runs/demo_experiment")
    assert (config.loop.steps, config.batch_size) == (40, 8)
    assert config.data.feature_lengths == {"inputs": 128, "targets": 32}


def test_finetuning_follows_the_papers_protocol():
    config = build("finetune")
    assert (config.loop.steps, config.optimizer.learning_rate) == (30_000, 3e-5)
    assert config.optimizer.name == "adafactor"
    assert config.data.feature_lengths == {"inputs": 1024, "targets": 256}
    assert (config.data.cap, config.data.rate) == (30_000, 3_000)


def test_loss_terms_remat_and_dtypes_are_reached_from_gin():
    config = build(
        "finetune",
        "tiny",
        "LossConfig.z_loss=1e-4",
        "LossConfig.label_smoothing=0.1",
        "ModelConfig.remat=dots",
        "ModelConfig.param_dtype=bfloat16",
        "ModelConfig.dropout_rate=0.1",
    )
    assert (config.step.loss.z_loss, config.step.loss.label_smoothing) == (1e-4, 0.1)
    model = config.model
    assert (model.remat, model.param_dtype, model.dropout_rate) == ("dots", "bfloat16", 0.1)
    with pytest.raises(ValueError, match="remat must be one of"):
        build("finetune", "tiny", "ModelConfig.remat=some")


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "peft").glob("*.gin")))
def test_adapters_are_read_after_any_run(name):
    for run in RUNS:
        config = build(run, f"../peft/{name}")
        assert type(config.adapter).__name__ == {"lora": "Lora", "prompt": "SoftPrompt"}[name]
    assert build("finetune").adapter is None
    lora = build("finetune", None, "PEFT=lora", "Lora.targets=query,wo", "Lora.rank=4").adapter
    assert (lora.targets, lora.rank) == (("query", "wo"), 4)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_builds_and_has_the_promised_size(model):
    config = build("finetune", model).model
    assert config.vocab_size == 0
    sized = config.for_vocabulary(32_000)
    body = sized.num_parameters - 2 * 32_000 * sized.d_model
    if model in BILLIONS:
        assert body / 1e9 == pytest.approx(BILLIONS[model], rel=0.05)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_made_small_takes_a_step(model):
    config = build(
        "finetune",
        model,
        "ModelConfig.vocab_size=64",
        *(f"ModelConfig.{name}={value}" for name, value in SHRUNK.items()),
    )
    loss, moved = take_step(config.model, config.optimizer, config.step)
    assert math.log(64) / 2 < loss < 2 * math.log(64)
    assert moved


@pytest.mark.parametrize("run", RUNS)
def test_every_run_made_small_takes_a_step(run):
    config = build(
        run,
        None,
        "ModelConfig.vocab_size=64",
        *(f"ModelConfig.{name}={value}" for name, value in SHRUNK.items()),
    )
    _, moved = take_step(config.model, config.optimizer, config.step)
    assert moved


@functools.cache  # made small, many are the same
def take_step(model, optimizer, step_config) -> tuple[float, bool]:
    """The loss of a first step, and whether it moved every parameter."""
    data, mesh_config = EchoData(), MeshConfig(1)
    mesh = make_mesh(mesh_config, jax.devices()[:1])
    tx = make_optimizer(dataclasses.replace(optimizer, learning_rate=1e-2))
    state = create_state(model, tx, 0, mesh, mesh_config)
    before = jax.tree.map(lambda p: p.copy(), state.params)
    step = make_train_step(model, tx, step_config, mesh, mesh_config, data.max_targets)
    state, metrics = step(state, put_batch(data.batch(0), mesh))
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, state.params)
    return float(metrics["loss"]), all(jax.tree.leaves(moved))
