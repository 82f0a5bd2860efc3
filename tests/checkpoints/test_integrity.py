"""Checksums: the same on devices and on a host, another for any change."""

from __future__ import annotations

import hashlib
import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.checkpoints import integrity
from flan.checkpoints.integrity import checksum, host_checksum, opened, sealed

DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16, jnp.int32, jnp.int8, jnp.uint32)
arrays = st.builds(
    lambda shape, dtype, seed: (
        np.random.default_rng(seed)
        .integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
        .view(dtype)
        .reshape(shape)
    ),
    st.lists(st.integers(1, 5), max_size=3).map(tuple),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=25)  # each shape is compiled
@given(arrays)
def test_a_host_sums_up_as_devices_do(array):
    assert host_checksum(array) == checksum(jnp.asarray(array)).tolist()


def test_a_host_sums_up_in_pieces(monkeypatch):
    array = np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32)
    monkeypatch.setattr(integrity, "_BLOCK", 8)
    assert host_checksum(array) == checksum(jnp.asarray(array)).tolist()


@given(arrays, st.data())
def test_another_bit_is_another_sum(array, data):
    changed = array.copy()
    content = changed.reshape(-1).view(np.uint8)
    place = data.draw(st.integers(0, content.size - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    assert host_checksum(changed) != host_checksum(array)


def test_another_order_is_another_sum():
    array = np.arange(6, dtype=np.float32)
    assert host_checksum(array[::-1].copy()) != host_checksum(array)


def test_numbers_of_64_bits_are_refused():
    with pytest.raises(ValueError, match="cannot sum up an array of float64"):
        host_checksum(np.zeros(2))


def test_a_checkpoint_without_checksums_is_read_as_it_is(tmp_path):
    assert opened({"seed": 3}) == ({"seed": 3}, None)
    arrays = {"params/a": ([2], "float32", [1, 2])}
    stored = json.loads(json.dumps(sealed({"seed": 3, "pair": (1, 2)}, arrays)))
    assert opened(stored) == ({"seed": 3, "pair": [1, 2]}, arrays)
    for version, found in ((None, None), (2, arrays)):
        hashed = json.dumps(
            [{"seed": 3, "pair": [1, 2]}, stored["integrity"]["arrays"]], sort_keys=True
        )
        older = {"arrays": arrays, "sha256": hashlib.sha256(hashed.encode()).hexdigest()}
        if version is not None:
            older["version"] = version
        assert opened({**stored, "integrity": older}) == ({"seed": 3, "pair": [1, 2]}, found)
        damaged = {**older, "version": 1}
        with pytest.raises(ValueError, match="metadata"):
            opened({**stored, "integrity": damaged})
    for version in (1, 2, 4, "3", None):
        with pytest.raises(ValueError, match="metadata"):
            opened({**stored, "integrity": {**stored["integrity"], "version": version}})
    for changed in ({**stored, "seed": 4}, {**stored, "integrity": {}}, {**stored, "new": 1}):
        with pytest.raises(ValueError, match="metadata"):
            opened(changed)


def test_numbers_as_keys_are_what_json_makes_of_them():
    stored = json.loads(json.dumps(sealed({"counts": {2: 1, 10: 2}}, {})))
    assert opened(stored) == ({"counts": {"2": 1, "10": 2}}, {})
