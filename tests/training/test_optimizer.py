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
    assert float(rsqrt(399)) == pytest.approx(0.5)
    assert float(schedule(schedule="rsqrt")(3)) == pytest.approx(0.5)
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


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"learning_rate": -1.0}, "0 or more, got -1.0"),
        ({"learning_rate": float("nan")}, "0 or more, got nan"),
        ({"warmup_steps": -5}, "0 or more"),
        ({"weight_decay": -1.0}, "0 or more"),
        ({"clip_norm": -1.0}, "above 0, got -1.0"),
        ({"clip_norm": 0.0}, "above 0"),
        ({"clip_update": 0.0}, "above 0"),
        ({"decay_rate": -1.0}, "above 0"),
        ({"momentum": 1.0}, "at least 0 and below 1, got 1.0"),
        ({"name": "adamw", "beta1": 1.5}, "at least 0 and below 1"),
        ({"name": "adamw", "beta2": 1.0}, "at least 0 and below 1"),
        ({"name": "adamw", "epsilon": 0.0}, "above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, expected):
    name = next(name for name in settings if name != "name")
    with pytest.raises(ValueError, match=f"OptimizerConfig.{name} must be {expected}"):
        OptimizerConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"decay_steps": 10}, "decay_steps = 10 does nothing with schedule 'constant'"),
        ({"schedule": "rsqrt", "decay_steps": 10}, "does nothing with schedule 'rsqrt'"),
        ({"name": "adamw", "momentum": 0.9}, "momentum = 0.9 does nothing with adamw"),
        ({"name": "adamw", "clip_update": None}, "is adafactor's: leave it at 1.0"),
        ({"beta2": 0.9}, "beta2 = 0.9 does nothing with adafactor, it is adamw's"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        OptimizerConfig(**settings)


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
        found = params["layers"]["kernel"][layer]
        np.testing.assert_allclose(found, one, rtol=1e-6, atol=1e-6 * float(jnp.abs(one).max()))


def test_second_moments_are_factored_by_layer():
    params = {
        "layers": {"kernel": jnp.ones((3, 12, 16)), "norm": {"scale": jnp.ones((3, 12))}},
        "large": jnp.ones((128, 160)),
        "small": jnp.ones((127, 160)),
    }
    state = make_optimizer(OptimizerConfig()).init(params)
    row, col, whole = (
        jax.tree.map(jnp.shape, tree) for tree in (state.v_row, state.v_col, state.v)
    )
    assert row == {
        "layers": {"kernel": (3, 12), "norm": {"scale": (1,)}},
        "large": (128,),
        "small": (1,),
    }
    assert (col["layers"]["kernel"], col["large"]) == ((3, 16), (160,))
    assert whole == {
        "layers": {"kernel": (1,), "norm": {"scale": (3, 12)}},
        "large": (1,),
        "small": (127, 160),
    }


@pytest.mark.parametrize("name", ["adafactor", "adamw"])
def test_bfloat16_parameters_have_float32_statistics(name):
    config = OptimizerConfig(name=name, learning_rate=0.1, ema_decay=0.9)
    tx = make_optimizer(config)
    params = {"layers": {"kernel": jnp.ones((2, 4, 4), jnp.bfloat16)}, "scale": jnp.ones(4)}
    state = tx.init(params)
    kinds = jax.tree.map(lambda leaf: leaf.dtype, state)
    assert not any(kind == jnp.bfloat16 for kind in jax.tree.leaves(kinds))
    updates, after = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    assert jax.tree.map(lambda leaf: leaf.dtype, after) == kinds
    moved = optax.apply_updates(params, updates)
    assert moved["layers"]["kernel"].dtype == jnp.bfloat16
    assert float(moved["layers"]["kernel"][0, 0, 0]) == pytest.approx(0.9, rel=1e-2)


def test_the_average_follows_the_parameters_from_the_first_update_on():
    tx = make_optimizer(OptimizerConfig(learning_rate=0.5, ema_decay=0.75))
    state = tx.init({"scale": jnp.full(4, 99.0)})  # as before an initial checkpoint is read
    params, expected = {"scale": jnp.zeros(4)}, 0.0
    for _ in range(3):
        updates, state = tx.update({"scale": jnp.ones(4)}, state, params)
        params = optax.apply_updates(params, updates)
        expected = 0.75 * expected + 0.25 * float(params["scale"][0])
    np.testing.assert_allclose(state.ema["scale"], expected, rtol=1e-6)
    assert -1.5 < expected < -0.1
    with pytest.raises(ValueError, match="ema_decay must be at least 0 and below 1, got 1"):
        make_optimizer(OptimizerConfig(ema_decay=1.0))
