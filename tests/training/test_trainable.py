"""Steps of adapters: what trains, what is kept for it, and that no mesh or part matters."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
import pytest

from flan.models.adapters import Lora, SoftPrompt
from flan.models.flops import train_step_flops
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.tiny import TINY_MODEL, EchoData
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.state import abstract_state, create_state
from flan.training.step import StepConfig, make_train_step, put_batch
from flan.training.trainable import split

LORA = dataclasses.replace(TINY_MODEL, adapter=Lora(rank=2, targets="query,wo"))
PROMPT = dataclasses.replace(TINY_MODEL, adapter=SoftPrompt(2))
ONE = MeshConfig(1)


def batch_for(config, number):
    """A batch, its first places of each example those of the prompt."""
    batch = EchoData().batch(number)
    tokens = batch.tokens.copy()
    for place, token in enumerate(config.prompt_ids, 1):
        tokens[(batch.positions == place) & (batch.segment_ids > 0)] = token
    targets = np.where(np.roll(tokens, -1, 1) >= config.vocab_size, 99, batch.targets)
    return batch._replace(tokens=tokens, targets=targets)


@functools.cache
def train(config, mesh_config=ONE, devices=1, steps=2, parts=1, **optimizer):
    """(losses, parameters before, state after)."""
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    tx = make_optimizer(OptimizerConfig(learning_rate=0.05, **optimizer))
    state = create_state(config, tx, 0, mesh, mesh_config)
    before = jax.tree.map(np.array, state.params)
    step = make_train_step(config, tx, StepConfig(microbatches=parts), mesh, mesh_config, 12)
    losses = []
    for number in range(steps):
        state, metrics = step(state, put_batch(batch_for(config, number), mesh))
        losses.append(float(metrics["loss"]))
    return losses, before, state


@pytest.mark.parametrize("config", [LORA, PROMPT], ids=["lora", "prompt"])
def test_only_the_adapter_trains(config):
    _, before, state = train(config, ema_decay=0.5)
    after = jax.tree.map(np.array, state.params)
    (some, frozen), (some_now, frozen_now) = split(config, before), split(config, after)
    jax.tree.map(np.testing.assert_array_equal, frozen, frozen_now)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), some, some_now)))
    # The average is of what trains; so is all of the optimizer's state.
    assert jax.tree.structure(state.opt_state.ema) == jax.tree.structure(some)
    kept = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state))
    assert kept < 2.5 * config.num_trained + 100


def test_lora_trains_alike_on_any_mesh_and_in_any_parts():
    losses, _, state = train(LORA, ema_decay=0.5)
    other, _, meshed = train(LORA, MeshConfig(2, 2, 2), 8, parts=2, ema_decay=0.5)
    np.testing.assert_allclose(other, losses, rtol=1e-5)
    for one, two in zip(jax.tree.leaves(meshed.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-4)


def test_frozen_parameters_cost_no_gradient_memory():
    """Weights far larger than activations: their gradients, or a copy, would be seen."""
    large = dataclasses.replace(TINY_MODEL, num_layers=4, d_model=256, d_ff=4096)
    config = dataclasses.replace(large, adapter=Lora(rank=1, targets="query"))
    mesh = make_mesh(ONE, jax.devices()[:1])
    tx = make_optimizer(OptimizerConfig())
    step = make_train_step(config, tx, StepConfig(), mesh, ONE)
    batch = jax.tree.map(lambda x: x[:1, :8], batch_for(config, 0))
    stats = step.lower(abstract_state(config, tx, mesh, ONE), batch).compile().memory_analysis()
    assert stats.alias_size_in_bytes > 4 * config.num_parameters  # updated in place
    assert stats.temp_size_in_bytes < 0.5 * 4 * config.num_parameters


def test_flops_leave_out_the_products_that_no_gradient_needs():
    full, lora = (train_step_flops(config, 8, 32, 12) for config in (TINY_MODEL, LORA))
    prompt = train_step_flops(PROMPT, 8, 32, 12)
    assert full * 2 / 3 < prompt < lora < full
