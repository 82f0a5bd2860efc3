"""Optimizers: schedules, and layers that do not know of each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan.training.optimizer import OptimizerConfig, make_optimizer, make_schedule


def schedule(**settings):
    return make_schedule(OptimizerConfig(learning_rate=1.0, **settings))


def test_flans_default_is_a_constant_3e_5():
    default = make_schedule(OptimizerConfig())
    assert float(default(0)) == float(default(30_000)) == pytest.approx(3e-5)


def test_schedules_rise_and_fall():
    rsqrt = schedule(schedule="rsqrt", warmup_steps=100)
    assert float(rsqrt(0)) == pytest.approx(0.01)
    assert float(rsqrt(99)) == pytest.approx(1.0)
    assert float(rsqrt(400)) == pytest.approx(0.5, rel=1e-3)
    for name in ("linear", "cosine"):
        falling = schedule(schedule=name, warmup_steps=10, decay_steps=110)
        assert float(falling(10)) == pytest.approx(1.0)
        assert float(falling(60)) == pytest.approx(0.5)
        assert float(falling(110)) == pytest.approx(0.0, abs=1e-6)


def test_incomplete_settings_are_refused():
    with pytest.raises(ValueError, match="needs decay_steps above warmup_steps"):
        schedule(schedule="linear", warmup_steps=10)
    with pytest.raises(ValueError, match="schedule must be"):
        schedule(schedule="step")
    with pytest.raises(ValueError, match="optimizer must be"):
        make_optimizer(OptimizerConfig(name="sgd"))


@pytest.mark.parametrize("scale", [False, True])
def test_each_layer_of_the_stack_is_updated_as_if_alone(scale):
    rng = np.random.default_rng(0)
    # Layers of very different size: statistics mixed over the stack would show.
    stack = jnp.asarray(rng.normal(size=(3, 128, 160)) * [[[0.01]], [[1]], [[30]]], jnp.float32)
    grads = [jnp.asarray(rng.normal(size=stack.shape) * 10.0 ** -np.arange(3)[:, None, None])] * 4
    config = OptimizerConfig(learning_rate=0.1, scale_by_parameters=scale)
    tx = make_optimizer(config)
    params = {"layers": {"kernel": stack}, "norm": {"scale": jnp.ones(8)}}
    state = tx.init(params)
    for grad in grads:
        full = {"layers": {"kernel": grad}, "norm": {"scale": jnp.ones(8)}}
        updates, state = tx.update(full, state, params)
        params = optax.apply_updates(params, updates)
    alone = optax.adafactor(0.1, multiply_by_parameter_scale=scale, clipping_threshold=1.0)
    for layer in range(3):
        one = stack[layer]
        one_state = alone.init(one)
        for grad in grads:
            update, one_state = alone.update(grad[layer], one_state, one)
            one = optax.apply_updates(one, update)
        np.testing.assert_allclose(params["layers"]["kernel"][layer], one, rtol=2e-5, atol=1e-6)


def test_second_moments_are_factored_by_layer():
    params = {"layers": {"kernel": jnp.ones((3, 128, 160))}, "norm": {"scale": jnp.ones(8)}}
    state = make_optimizer(OptimizerConfig()).init(params)
    shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
    assert (3, 128) in shapes
    assert (3, 160) in shapes
    assert (3, 128, 160) not in shapes
