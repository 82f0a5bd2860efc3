"""FLOPs by formula, and peaks by device."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from flan.models.config import ModelConfig
from flan.models.flops import peak_flops, train_step_flops
from flan.models.transformer import Transformer

SMALL = ModelConfig(128, num_layers=1, d_model=32, num_heads=4, d_head=16, d_ff=64)


def test_the_formula_agrees_with_what_xla_counts():
    tokens = jnp.ones((2, 256), jnp.int32)
    model = Transformer(SMALL)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), tokens, tokens)["params"])
    compiled = jax.jit(lambda p, t: model.apply({"params": p}, t, t)).lower(params, tokens)
    counted = compiled.compile().cost_analysis()["flops"]
    # Masks, softmax and norms are not in the formula.
    assert train_step_flops(SMALL, 2, 256) / 3 == pytest.approx(counted, rel=0.2)


def test_large_models_take_six_flops_a_parameter_and_token():
    large = dataclasses.replace(
        SMALL,
        vocab_size=32_000,
        num_layers=64,
        d_model=8192,
        num_heads=128,
        d_head=128,
        d_ff=65_536,
    )
    flops = train_step_flops(large, 8, 1024)
    assert flops == pytest.approx(6 * large.num_parameters * 8 * 1024, rel=0.02)
    assert train_step_flops(large, 8, 1024, max_targets=256) < flops


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v3", 61.5e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("cpu", None),
    ],
)
def test_peaks_by_the_names_of_devices(kind, peak):
    assert peak_flops(kind) == peak
