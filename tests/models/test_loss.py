"""The loss: where it counts, what its options add, and its gradients on packed rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.data.batch import Batch
from flan.models import ModelConfig, Transformer
from flan.models.loss import LossConfig, cross_entropy, loss_positions, weighted_loss

CONFIG = ModelConfig(vocab_size=50, num_layers=2, d_model=32, num_heads=2, d_head=16, d_ff=48)


def make_batch(rows: list[list[tuple[int, int]]], length: int, seed: int = 0) -> Batch:
    """Rows of (input length, target length) examples with random tokens."""
    rng = np.random.default_rng(seed)
    arrays = {name: np.zeros((len(rows), length), np.int32) for name in Batch._fields}
    for row, examples in enumerate(rows):
        start = 0
        for number, (inputs, targets) in enumerate(examples, 1):
            stop = start + inputs + targets
            text = rng.integers(2, 50, stop - start)
            arrays["targets"][row, start:stop] = text
            arrays["tokens"][row, start + 1 : stop] = text[:-1]
            arrays["positions"][row, start:stop] = np.arange(stop - start)
            arrays["segment_ids"][row, start:stop] = number
            arrays["loss_weights"][row, start + inputs : stop] = 1
            start = stop
    arrays["loss_weights"] = arrays["loss_weights"].astype(np.float32)
    return Batch(**arrays)


def unpack(batch: Batch) -> Batch:
    """Each example of a packed batch in a row of its own."""
    rows = []
    length = batch.tokens.shape[1]
    for row in range(len(batch.tokens)):
        for segment in range(1, batch.segment_ids[row].max() + 1):
            where = batch.segment_ids[row] == segment
            out = [np.zeros(length, a.dtype) for a in batch]
            for array, source in zip(out, batch, strict=True):
                array[: where.sum()] = source[row][where]
            out[3][: where.sum()] = 1
            rows.append(out)
    return Batch(*(np.stack(column) for column in zip(*rows, strict=True)))


@pytest.fixture(scope="module")
def params():
    ones = jnp.ones((1, 4), jnp.int32)
    return jax.jit(Transformer(CONFIG).init)(jax.random.key(0), ones, ones)["params"]


BATCH = make_batch([[(5, 3), (4, 2), (6, 4)], [(10, 5), (3, 1)]], 26)


@pytest.mark.parametrize("prefix_lm", [False, True])
def test_packed_loss_and_gradients_equal_unpacked_ones(params, prefix_lm):
    model = Transformer(CONFIG)

    def run(batch):
        def loss(p):
            return weighted_loss(model, p, batch, LossConfig(z_loss=1e-3), prefix_lm=prefix_lm)

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)

    (packed, sums), packed_grads = run(BATCH)
    (alone, _), alone_grads = run(unpack(BATCH))
    assert float(sums["weight"]) == BATCH.loss_weights.sum() == 15
    np.testing.assert_allclose(packed, alone, rtol=1e-5)
    for one, two in zip(jax.tree.leaves(packed_grads), jax.tree.leaves(alone_grads), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5 * max(1.0, float(jnp.abs(two).max())))


def test_logits_at_loss_positions_only_give_the_same_loss(params):
    model = Transformer(CONFIG)
    full, sums = weighted_loss(model, params, BATCH, LossConfig())
    some, fewer = weighted_loss(model, params, BATCH, LossConfig(), max_targets=9)
    np.testing.assert_allclose(full, some, rtol=1e-6)
    np.testing.assert_allclose(sums["correct"], fewer["correct"])


def test_loss_positions_come_first_and_in_order():
    weights = jnp.array([[0, 1, 0, 1, 1.0], [0, 0, 0, 0, 0]])
    assert loss_positions(weights, 3)[0].tolist() == [1, 3, 4]


def test_cross_entropy_against_plain_numpy():
    logits = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    targets = np.array([0, 6, 2, 2])
    z = np.log(np.exp(logits).sum(-1))
    plain = z - logits[np.arange(4), targets]
    soft = np.full((4, 7), 0.1 / 6)
    soft[np.arange(4), targets] = 0.9
    divergence = (soft * (np.log(soft) - logits + z[:, None])).sum(-1)
    smooth = divergence + 0.01 * z**2
    np.testing.assert_allclose(cross_entropy(logits, targets, LossConfig()), plain, rtol=1e-5)
    config = LossConfig(z_loss=0.01, label_smoothing=0.1)
    np.testing.assert_allclose(cross_entropy(logits, targets, config), smooth, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"label_smoothing": 1.0}, {"z_loss": -1e-4}])
def test_impossible_loss_terms_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        LossConfig(**settings)


def test_dropout_acts_only_with_a_key(params):
    config = ModelConfig(**{**CONFIG.to_json(), "dropout_rate": 0.3})
    model = Transformer(config)

    def loss(key):
        return float(weighted_loss(model, params, BATCH, LossConfig(), dropout_key=key)[0])

    assert loss(None) == loss(None)
    assert loss(jax.random.key(1)) != loss(None)
    assert loss(jax.random.key(1)) != loss(jax.random.key(2))
