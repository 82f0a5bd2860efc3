"""The gradient step: the same numbers on any mesh, in any number of microbatches."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from flan.models.adapters import Lora
from flan.models.loss import LossConfig
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.tiny import TINY_MODEL, EchoData
from flan.training.loop import LoopConfig
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.run import seeded, warn_of_rounding
from flan.training.settings import RunConfig
from flan.training.state import create_state
from flan.training.step import StepConfig, make_train_step, put_batch


def losses(
    mesh_config: MeshConfig = MeshConfig(1),  # noqa: B008 - frozen
    devices: int = 1,
    steps: int = 6,
    step_config: StepConfig = StepConfig(),  # noqa: B008
    model=TINY_MODEL,
) -> list[float]:
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    tx = make_optimizer(OptimizerConfig(learning_rate=1e-2))
    state = create_state(model, tx, 0, mesh, mesh_config)
    data = EchoData()
    step = make_train_step(model, tx, step_config, mesh, mesh_config, data.max_targets)
    found = []
    for number in range(steps):
        state, metrics = step(state, put_batch(data.batch(number), mesh))
        found.append(float(metrics["loss"]))
    assert int(state.step) == steps
    return found


@pytest.fixture(scope="module")
def one_device() -> list[float]:
    return losses()


@pytest.mark.parametrize("mesh", [MeshConfig(8), MeshConfig(2, 2, 2), MeshConfig(1, 4, 2)], ids=str)
def test_losses_do_not_depend_on_the_mesh(mesh, one_device):
    np.testing.assert_allclose(losses(mesh, 8), one_device, rtol=1e-5)


@pytest.mark.parametrize("parts", [2, 4])
def test_losses_do_not_depend_on_microbatches(parts, one_device):
    found = losses(step_config=StepConfig(microbatches=parts))
    np.testing.assert_allclose(found, one_device, rtol=1e-5)


@pytest.mark.parametrize("policy", ["dots", "full"])
def test_remat_changes_nothing(policy, one_device):
    model = dataclasses.replace(TINY_MODEL, remat=policy)
    np.testing.assert_allclose(losses(model=model), one_device, rtol=1e-5)


def test_bfloat16_stays_near_float32(one_device):
    model = dataclasses.replace(TINY_MODEL, dtype="bfloat16")
    np.testing.assert_allclose(losses(model=model), one_device, rtol=3e-2)


def test_bfloat16_parameters_train(one_device):
    model = dataclasses.replace(TINY_MODEL, dtype="bfloat16", param_dtype="bfloat16")
    found = losses(model=model, steps=6)
    assert found[-1] < found[0] - 0.5 * (one_device[0] - one_device[-1])


def test_the_norm_of_bfloat16_parameters_is_summed_in_float32():
    model = dataclasses.replace(TINY_MODEL, param_dtype="bfloat16", d_model=256, d_ff=512)
    mesh = make_mesh(MeshConfig(1), jax.devices()[:1])
    tx = make_optimizer(OptimizerConfig())
    state = create_state(model, tx, 0, mesh, MeshConfig(1))
    step = make_train_step(model, tx, StepConfig(), mesh, MeshConfig(1))
    state, metrics = step(state, put_batch(EchoData().batch(0), mesh))
    leaves = [np.asarray(p, np.float64) for p in jax.tree.leaves(state.params)]
    norm = np.sqrt(sum(np.square(p).sum() for p in leaves))
    assert metrics["param_norm"].dtype == np.float32
    assert float(metrics["param_norm"]) == pytest.approx(norm, rel=1e-5)


def test_parameters_in_bfloat16_are_warned_of_where_they_train(caplog):
    model = dataclasses.replace(TINY_MODEL, param_dtype="bfloat16")
    warn_of_rounding(TINY_MODEL)
    warn_of_rounding(dataclasses.replace(model, adapter=Lora()))
    assert not caplog.messages
    warn_of_rounding(model)
    assert "rounded away" in caplog.text


def test_a_steps_own_seed_wins_over_the_runs():
    config = RunConfig("", None, LoopConfig(1), seed=4)
    assert seeded(config).seed == 4
    assert seeded(dataclasses.replace(config, step=StepConfig(seed=0))).seed == 0


@pytest.mark.parametrize("parts", [0, -2])
def test_impossible_microbatches_are_refused(parts):
    with pytest.raises(ValueError, match=r"microbatches must be 1 .* or more, got"):
        StepConfig(microbatches=parts)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63])
def test_seeds_that_not_all_generators_take_are_refused(seed):
    with pytest.raises(ValueError, match=f"^SEED must be from 0 to 4294967295, got {seed}"):
        RunConfig("", None, LoopConfig(1), seed=seed)
    with pytest.raises(ValueError, match=r"^StepConfig\.seed must be from 0"):
        StepConfig(seed=seed)


def test_metrics_count_tokens_and_ignore_loss_terms_that_are_not_cross_entropy(one_device):
    mesh = make_mesh(MeshConfig(1), jax.devices()[:1])
    tx = make_optimizer(OptimizerConfig())
    batch = EchoData().batch(0)
    step = make_train_step(
        TINY_MODEL, tx, StepConfig(loss=LossConfig(z_loss=0.1)), mesh, MeshConfig(1)
    )
    state = create_state(TINY_MODEL, tx, 0, mesh, MeshConfig(1))
    _, metrics = step(state, put_batch(batch, mesh))
    assert float(metrics["targets"]) == batch.loss_weights.sum()
    assert float(metrics["tokens"]) == (batch.segment_ids > 0).sum()
    assert float(metrics["loss"]) == pytest.approx(one_device[0], rel=1e-5)
