import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.evaluation.fingerprint import model_fingerprint, params_fingerprint
from flan.models.config import ModelConfig


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {
        "a": {"kernel": jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)},
        "b": jnp.asarray(rng.normal(size=8), jnp.bfloat16),
    }


def test_equal_parameters_have_equal_fingerprints(params):
    again = jax.tree.map(lambda x: jnp.array(np.asarray(x)), params)
    assert params_fingerprint(params) == params_fingerprint(again)
    assert len(params_fingerprint(params)) == 64


def test_any_change_shows(params):
    kernel = params["a"]["kernel"]
    nearby = kernel.at[2, 1].set(jnp.nextafter(kernel[2, 1], 9.0))
    changed = [
        {**params, "a": {"kernel": nearby}},
        {**params, "a": {"kernel": kernel[::-1]}},
        {**params, "a": {"kernel": kernel.reshape(4, 6)}},
        {**params, "a": {"weight": kernel}},
        {**params, "b": params["b"].astype(jnp.float32)},
        {**params, "c": jnp.zeros(1)},
    ]
    prints = {params_fingerprint(p) for p in [params, *changed]}
    assert len(prints) == len(changed) + 1


def test_the_mesh_does_not_show(params):
    mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    kernel = jnp.tile(params["a"]["kernel"], (4, 8))
    spread = jax.device_put(
        kernel, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    )
    assert params_fingerprint({"a": spread}) == params_fingerprint({"a": kernel})


def test_the_same_weights_in_another_network_are_another_model(params):
    base = ModelConfig(8, 1, 8, 1, 8, 8, positions="rope")
    changed = [
        (dataclasses.replace(base, rope_theta=500.0), True),
        (dataclasses.replace(base, activation="silu"), True),
        (base, False),
    ]
    prints = {model_fingerprint(params, *one) for one in [(base, True), *changed]}
    assert len(prints) == len(changed) + 1
    runtime = dataclasses.replace(base, remat="full", attention="plain", dtype="bfloat16")
    assert model_fingerprint(params, runtime, True) == model_fingerprint(params, base, True)
