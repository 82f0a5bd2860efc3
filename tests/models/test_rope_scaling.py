import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.models.config import ModelConfig
from flan.models.positions import rotary
from flan.models.rope_scaling import RopeScaling

GOLDEN = [1.0, 1.0, 1.0, 1.20748, 2.02631, 5.25733, 8.0, 8.0]
LLAMA3 = RopeScaling("llama3", 8.0)
CONFIG = ModelConfig(128, 1, 16, 2, 8, 16, positions="rope", rope_theta=5e5, rope_scaling=LLAMA3)


def test_divisors_equal_those_of_transformers():
    # transformers 5.24, `ROPE_INIT_FUNCTIONS["llama3"]`, head_dim 128, theta 500,000.
    found = LLAMA3.divisors(128, 5e5)
    assert found.shape == (64,)
    np.testing.assert_allclose(found[[0, 10, 28, 29, 31, 34, 35, 63]], GOLDEN, rtol=2e-5)


def test_linear_scaling_is_a_slower_walk():
    x = jax.random.normal(jax.random.key(0), (1, 3, 2, 8))
    positions = jnp.array([[0, 8, 20]])
    slow = rotary(x, positions, 1e4, RopeScaling("linear", 4.0))
    np.testing.assert_allclose(slow, rotary(x, positions // 4, 1e4), atol=1e-6)


@given(
    st.floats(1.0, 64.0),
    st.sampled_from([8, 64, 128]),
    st.floats(1e3, 1e6),
    st.integers(64, 20_000),
)
def test_fast_frequencies_stay_and_slow_ones_are_divided(factor, head, theta, context):
    scaling = RopeScaling("llama3", factor, original_context=context)
    found = scaling.divisors(head, theta)
    assert (found >= 1 - 1e-6).all()
    assert (found <= factor * (1 + 1e-6)).all()
    assert (np.diff(found) >= -1e-5 * factor).all()
    turns = context * theta ** (-np.arange(head // 2) / (head // 2)) / (2 * np.pi)
    np.testing.assert_allclose(found[turns >= 4], 1, rtol=1e-6)
    np.testing.assert_allclose(found[turns <= 1], factor, rtol=1e-6)


def test_a_config_keeps_its_scaling():
    assert ModelConfig.from_json(CONFIG.to_json()) == CONFIG
    plain = dataclasses.replace(CONFIG, rope_scaling=None)
    without = {k: v for k, v in plain.to_json().items() if k != "rope_scaling"}
    assert ModelConfig.from_json(without) == plain
    with pytest.raises(ValueError, match="rope_scaling has other entries"):
        ModelConfig.from_json({**CONFIG.to_json(), "rope_scaling": {"kind": "linear"}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "yarn", "factor": 2.0}, "must be linear or llama3"),
        ({"kind": "linear", "factor": 0.0}, "factor must be above 0"),
        ({"kind": "linear", "factor": float("inf")}, "factor must be above 0"),
        ({"kind": "llama3", "factor": 8.0, "low_frequency_factor": 4.0}, "must be below"),
        ({"kind": "llama3", "factor": 8.0, "original_context": 0}, "original_context must be"),
    ],
)
def test_what_is_no_rule_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RopeScaling(**settings)
