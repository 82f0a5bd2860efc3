"""Sizes that no network has are refused where they arrive, whatever file they come from."""

from __future__ import annotations

import dataclasses

import pytest

from flan.models.config import ModelConfig

SMALL = ModelConfig(128, 2, 16, 4, 4, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_kv_heads": 0}, "num_kv_heads must be 1 or more, or None, got 0"),
        ({"num_kv_heads": -2}, "num_kv_heads must be 1 or more, or None, got -2"),
        ({"num_layers": 2.5}, "num_layers must be 1 or more, got 2.5"),
        ({"num_layers": "2"}, "num_layers must be 1 or more, got '2'"),
        ({"vocab_size": None}, "vocab_size must be 0 or more, got None"),
        ({"vocab_size": 2**40}, "vocab_size 1,099,511,627,776 is beyond any model's"),
        ({"rope_theta": "x"}, "rope_theta must be from 1 to 1e[+]15, got 'x'"),
        ({"rope_theta": float("nan")}, "rope_theta must be"),
        ({"rope_theta": float("inf")}, "rope_theta must be"),
        ({"norm_epsilon": float("nan")}, "norm_epsilon must be"),
        ({"norm_epsilon": 1e-60}, "norm_epsilon must be"),
        ({"context_length": 0}, "context_length must be 1 or more"),
        ({"positions": "rope", "d_head": 5}, "d_head 5 is odd"),
    ],
)
def test_sizes_that_cannot_be_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_json({**SMALL.to_json(), **change})
