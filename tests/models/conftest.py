"""Tiny networks of both kinds, and decoding by running the whole text again for each token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.models import ModelConfig, Transformer

SMALL = {
    "lamda": ModelConfig(vocab_size=11, num_layers=2, d_model=16, num_heads=2, d_head=8, d_ff=32),
    "llama": ModelConfig(
        vocab_size=11,
        num_layers=2,
        d_model=16,
        num_heads=4,
        d_head=8,
        d_ff=32,
        num_kv_heads=2,
        positions="rope",
        activation="silu",
        tie_embeddings=True,
        scale_attention=True,
    ),
}


@pytest.fixture(scope="session", params=SMALL)
def small(request):
    """(model, params) of eleven tokens, with weights that make clear choices."""
    model = Transformer(SMALL[request.param])
    ones = jnp.ones((1, 4), jnp.int32)
    params = jax.jit(model.init)(jax.random.key(3), ones, ones)["params"]
    return model, jax.tree.map(lambda x: x * 2, params)


@pytest.fixture(scope="session")
def next_log_probs():
    """`(model, params, texts) -> float64 [texts, V]` after texts of one length, no cache."""
    forward = jax.jit(
        lambda model, params, rows: model.apply({"params": params}, rows), static_argnums=0
    )

    def log_probs(model, params, texts):
        rows = np.zeros((len(texts), 12), np.int32)
        for row, text in enumerate(texts):
            rows[row, : len(text)] = text
        logits = forward(model, params, rows)[:, len(texts[0]) - 1]
        return np.asarray(jax.nn.log_softmax(logits, axis=-1), np.float64)

    return log_probs
