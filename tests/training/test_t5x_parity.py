"""The optimizer and the loss against T5X: its kept answers, and itself where it is installed."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
import t5x_reference as reference

from flan.models import Transformer
from flan.models.loss import weighted_loss
from flan.training.optimizer import make_optimizer, make_schedule


def ours(name: str) -> dict[str, np.ndarray]:
    """What `t5x_adafactor` gives, by our optimizer."""
    config, *_ = reference.VARIANTS[name]
    tx = make_optimizer(config)
    rate = make_schedule(config)
    found = {"rates": np.array([rate(step) for step in range(reference.STEPS)], np.float32)}
    params = reference.start()
    state = tx.init(params)
    update = jax.jit(tx.update)
    for step in range(reference.STEPS):
        updates, state = update(reference.gradient(step), state, params)
        params = optax.apply_updates(params, updates)
        if step in (0, reference.STEPS - 1):
            for path, values in reference.thinned(params).items():
                found[f"{step + 1}/{path}"] = values
    return found


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(reference.GOLDEN) as kept:
        start = f"{name}/"
        return {k.removeprefix(start): kept[k] for k in kept.files if k.startswith(start)}


def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Parameters agree to 1e-5 of how far they came, beside float32 rounding on their size."""
    before = reference.thinned(reference.start())
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        _, _, path = key.partition("/")
        way = np.abs(values - before[path]).mean() if path else 0.0
        np.testing.assert_allclose(found[key], values, rtol=1e-6, atol=1e-5 * way, err_msg=key)


def our_loss(name: str) -> float:
    batch, config = reference.packed_batch(), reference.LOSSES[name]
    model = Transformer(reference.MODEL)
    return float(weighted_loss(model, reference.model_params(), batch, config, max_targets=12)[0])


@pytest.mark.parametrize("name", reference.VARIANTS)
def test_twenty_steps_equal_those_that_t5x_took(name):
    check(ours(name), golden(name))


@pytest.mark.parametrize("name", reference.LOSSES)
def test_the_loss_equals_t5xs(name):
    assert our_loss(name) == pytest.approx(float(golden(name)["loss"]), rel=1e-5)


@pytest.mark.parametrize("name", reference.VARIANTS)
def test_the_optimizer_equals_an_installed_t5x(name):
    pytest.importorskip("t5x", reason="T5X is not installed (docs/t5x.md)")
    check(ours(name), reference.t5x_adafactor(name))


@pytest.mark.parametrize("name", reference.LOSSES)
def test_the_loss_equals_an_installed_t5xs(name):
    pytest.importorskip("t5x", reason="T5X is not installed (docs/t5x.md)")
    found = reference.t5x_loss(name)["loss"]
    assert our_loss(name) == pytest.approx(float(found), rel=1e-5)
