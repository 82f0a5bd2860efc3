"""A `model.json` that was changed, or is another model's, is not read as the checkpoint's."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from flan.checkpoints import layout
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.models.config import ModelConfig
from flan.training.state import TrainState, init_params

quiet_orbax()

CONFIG = ModelConfig(vocab_size=128, num_layers=2, d_model=16, num_heads=2, d_head=8, d_ff=32)


@pytest.fixture(scope="module", params=[True, False], ids=["metadata", "names"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    params = init_params(CONFIG, jax.random.key(0))
    manager = CheckpointManager(folder)
    metadata = {"model": CONFIG.to_json()} if request.param else {}
    manager.save(TrainState(jnp.int32(1), params, {}), metadata)
    manager.close()
    return folder


@pytest.mark.parametrize(
    "change", [{"tie_embeddings": True}, {"positions": "rope"}], ids=["tied", "rope"]
)
def test_parameters_are_not_left_out_in_silence(change, folder):
    layout.write_model_config(folder, dataclasses.replace(CONFIG, **change))
    with pytest.raises(ValueError, match=r"model\.json"):
        load_for_inference(folder)
    layout.write_model_config(folder, dataclasses.replace(CONFIG, remat="full", dropout_rate=0.1))
    load_for_inference(folder)
