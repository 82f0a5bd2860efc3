"""LoRA and soft prompts as their users train them: `flan train`, then every command that reads a model."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.catalog.registry import get_dataset
from flan.checkpoints import layout
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.cli.main import main
from flan.data.example_rows import demo_examples
from flan.data.vocabulary import train_sentencepiece
from flan.evaluation.model import load_model
from flan.models.adapters import Lora, SoftPrompt
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig, make_mesh
from flan.training.start import with_initial_params
from flan.training.state import TrainState, init_params, param_shardings
from flan.training.trainable import split

quiet_orbax()


# As Hugging Face's Llama, so that it can be exported.
CONFIG = ModelConfig(
    vocab_size=512,
    num_layers=1,
    d_model=16,
    num_heads=2,
    d_head=8,
    d_ff=32,
    positions="rope",
    activation="silu",
    tie_embeddings=True,
    scale_attention=True,
    scale_logits=False,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model folder with random weights."""
    folder = tmp_path_factory.mktemp("base") / "base"
    folder.mkdir()
    texts = [t for e in demo_examples(get_dataset("rte"), 100) for t in e.fields.values.values()]
    vocabulary = train_sentencepiece(texts, folder / layout.VOCABULARY, 400, shrink=True)
    layout.write_model_config(folder, CONFIG)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init_params(CONFIG, jax.random.key(0)))
    params = jax.tree.map(lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), s.dtype), shapes)
    manager = CheckpointManager(folder)
    manager.save(
        TrainState(jnp.int32(1), params, {"count": jnp.int32(1)}),
        {"vocabulary_fingerprint": vocabulary.fingerprint},
    )
    manager.close()
    return folder


@pytest.fixture(scope="module")
def train(small_demo, tmp_path_factory):
    """`train(folder, initial, steps, *flags) -> exit code` with small settings."""
    caches = tmp_path_factory.mktemp("caches")

    def call(folder, initial, steps, *flags):
        return main(
            [
                "train",
                "--gin_file=configs/runs/finetune.gin",
                *(f for f in flags if f.startswith("--gin_file")),
                "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}",
                f"--data_dir={small_demo}",
                f"--cache_dir={caches}",
                "--gin.MODEL=None",
                "--gin.MIXTURE_OR_TASK_NAME=rte",
                f"--gin.TRAIN_STEPS={steps}",
                "--gin.SAVE_PERIOD=2",
                "--gin.EVAL_PERIOD=0",
                *(f for f in flags if not f.startswith("--gin_file")),
                *([f"--gin.INITIAL_CHECKPOINT_PATH={initial}"] if initial else []),
                f"--model_dir={folder}",
            ]
        )

    return call


LORA = (
    "--gin_file=configs/peft/lora.gin",
    "--gin.Lora.rank=2",
    "--gin.Lora.targets=query,wo",
    "--gin.LEARNING_RATE=0.05",
    "--gin.OptimizerConfig.ema_decay=0.5",
)
PROMPT = ("--gin_file=configs/peft/prompt.gin", "--gin.SoftPrompt.length=3")


def arrays(folder):
    import orbax.checkpoint as ocp

    step = max(int(p.name) for p in (folder / layout.CHECKPOINTS).iterdir())
    state = ocp.StandardCheckpointer().restore(folder / layout.CHECKPOINTS / str(step) / "state")
    return jax.tree.map(np.asarray, state)


def started(config, initial):
    """The parameters that a run of `config` starts with."""
    mesh = make_mesh(MeshConfig(2), jax.devices()[:2])
    shardings = param_shardings(config, mesh, MeshConfig(2))
    shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    zeros = jax.tree.map(lambda s, at: jnp.zeros(s.shape, s.dtype, device=at), shapes, shardings)
    state = with_initial_params(
        TrainState(0, zeros, ()), initial, config, mesh, MeshConfig(2), vocab_size=50, seed=1
    )
    return state.params


def assert_close(one, two):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, two)


def test_a_lora_run_resumes_and_is_merged_wherever_it_is_read(train, base, tmp_path, capsys):
    lora = tmp_path / "lora"
    assert train(lora, base, 4, *LORA) == 0
    stored = arrays(lora)
    config = layout.read_model_config(lora)
    assert config.adapter == Lora(rank=2, targets="query,wo")
    trained, frozen = split(config, stored["params"])
    kept = sum(m.size for m in jax.tree.leaves(stored["opt_state"]))
    assert kept < 3 * sum(p.size for p in jax.tree.leaves(trained))
    jax.tree.map(np.testing.assert_array_equal, frozen, arrays(base)["params"])

    # As a kill after step 2 leaves it; then another rank, which is another run.
    part = shutil.copytree(lora, tmp_path / "part")
    shutil.rmtree(part / layout.CHECKPOINTS / "4")
    assert train(part, base, 4, *LORA) == 0
    jax.tree.map(np.testing.assert_array_equal, arrays(part), stored)
    assert train(part, base, 6, *LORA, "--gin.Lora.rank=3") == 2
    told = capsys.readouterr().err
    assert "trains Lora(rank=2" in told
    assert "ask for Lora(rank=3" in told

    found, averaged = load_for_inference(lora), load_for_inference(lora, ema=True)
    assert found.model_config == averaged.model_config == CONFIG
    kernel = frozen["layers"]["mlp"]["wo"]["kernel"]
    for one, tree in ((found, trained), (averaged, stored["opt_state"]["ema"])):
        layer = tree["layers"]["mlp"]["wo"]
        expected = kernel + 8.0 * layer["lora_a"] @ layer["lora_b"]
        assert abs(expected - kernel).max() > 1e-3
        np.testing.assert_allclose(one.params["layers"]["mlp"]["wo"]["kernel"], expected, atol=1e-6)
    assert_close(load_model(lora).params, found.params)  # on all devices
    # Exported and read back, it is the same network.
    assert main(["convert", str(lora), str(tmp_path / "hf")]) == 0
    assert main(["convert", str(tmp_path / "hf"), str(tmp_path / "back")]) == 0
    assert_close(load_for_inference(tmp_path / "back").params, found.params)

    # Runs that start from it start from the merged model.
    assert_close(started(CONFIG, lora), found.params)
    another = dataclasses.replace(CONFIG, adapter=Lora(rank=5, targets="wo"))
    fresh, below = split(another, started(another, lora))
    assert_close(below, found.params)
    assert fresh["layers"]["mlp"]["wo"]["lora_a"].shape == (1, 32, 5)


def test_a_prompt_begins_with_embeddings_of_the_vocabulary(base):
    for init, found in (("vocabulary", True), ("random", False)):
        config = dataclasses.replace(CONFIG, adapter=SoftPrompt(6, init))
        embedder = started(config, base)["token_embedder"]
        table = np.asarray(embedder["embedding"])[:50]
        rows = [(table == place).all(axis=1).any() for place in np.asarray(embedder["soft_prompt"])]
        assert rows == [found] * 6


def test_a_soft_prompt_is_trained_scored_and_read(train, base, small_demo, tmp_path, capsys):
    run = tmp_path / "prompt"
    flags = (*PROMPT, "--gin.InstructionData.cap=32", "--gin.EVAL_PERIOD=2")
    assert train(run, base, 2, *flags) == 0
    config = layout.read_model_config(run)
    assert config.adapter == SoftPrompt(3)
    receipt = json.loads((run / layout.RECEIPT_FILE).read_text())
    assert [line["used"] for line in receipt["lines"]] == [32]
    lines = [json.loads(line) for line in (run / layout.METRICS_FILE).read_text().splitlines()]
    assert any("eval/rte/loss" in line for line in lines)

    model = load_model(run, devices=1)
    assert model.prefix == (512, 513, 514)
    _, frozen = split(config, model.params)
    assert_close(frozen, load_for_inference(base).params)
    assert_close(started(config, run), model.params)  # to be trained on

    capsys.readouterr()
    asked = ["--prompt", "Is it so?", "--max_new_tokens", "2", "--json"]
    assert main(["generate", str(run), *asked]) == 0
    assert json.loads(capsys.readouterr().out)["cut"] == 0
    command = ["eval", str(run), "--datasets", "rte", "--limit", "2", "--splits", "dev"]
    command += ["--input_length", "64", "--target_length", "16", "--templates", "t1"]
    command += ["--seen", "mark", f"--data_dir={small_demo}"]
    assert main([*command, "--out", str(tmp_path / "results")]) == 0

    assert main(["convert", str(run), str(tmp_path / "hf")]) == 2
    assert "has a soft prompt" in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()
    assert train(tmp_path / "full", run, 1) == 2
    assert "which this run would lose" in capsys.readouterr().err
    assert train(tmp_path / "longer", run, 1, *PROMPT, "--gin.SoftPrompt.length=4") == 2
    assert "--gin.SoftPrompt.length=3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (LORA, "LoRA is trained on a model that has learned something.*INITIAL_CHECKPOINT_PATH"),
        (PROMPT, "a soft prompt is trained on a model"),
        ((*LORA, "--gin.Lora.targets=q_proj"), "unknown target of LoRA 'q_proj'"),
        (("--gin.PEFT=lore",), "Did you mean 'lora'"),
        ((*LORA, "--gin.Lora.ranks=3"), "Did you mean 'rank'"),
    ],
    ids=["lora", "prompt", "target", "name", "setting"],
)
def test_mistakes_are_told_before_anything_is_written(train, tmp_path, capsys, flags, told):
    assert train(tmp_path / "run", None, 1, *flags) == 2
    assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_raw_text_has_no_place_for_a_prompt(base, small_demo, tmp_path, capsys):
    command = ["train", "--gin_file=configs/runs/pretrain.gin", *PROMPT[:1], "--gin.MODEL=None"]
    command += [f"--gin.INITIAL_CHECKPOINT_PATH={base}", "--gin.MIXTURE_OR_TASK_NAME=rte"]
    command += [f"--data_dir={small_demo}", f"--model_dir={tmp_path / 'run'}"]
    assert main(command) == 2
    assert "raw text has none" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
