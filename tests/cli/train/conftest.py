"""A small run, as `flan train` makes it."""

from __future__ import annotations

import os
import shutil

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from flan.cli.main import main


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
        "--gin.TRAIN_STEPS=6",
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
