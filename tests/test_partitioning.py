"""Meshes: what fits, and what is said where something does not."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from flan.partitioning import MeshConfig, check_batch, make_mesh
from flan.testing.tiny import TINY_MODEL
from flan.training.state import param_shardings


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(2, 2, 2), (2, 2, 2)),
        (MeshConfig(-1, 1, 4), (2, 1, 4)),
        (MeshConfig(1, -1, 1), (1, 8, 1)),
    ],
)
def test_meshes_over_eight_devices(config, shape):
    assert tuple(make_mesh(config).shape.values()) == shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MeshConfig(2, 1, 3), "needs 6 devices, there are 8"),
        (MeshConfig(-1, 1, 3), "8 devices cannot be split into groups of 3"),
        (MeshConfig(-1, -1, 1), "one may be -1"),
        (MeshConfig(0, 1, 1), "sizes are 1 or more"),
    ],
)
def test_impossible_meshes_are_refused_with_both_numbers(config, message):
    with pytest.raises(ValueError, match=message):
        make_mesh(config)


def test_a_batch_that_does_not_divide_is_refused():
    mesh = make_mesh(MeshConfig(4, 2, 1))
    check_batch(mesh, 16)
    with pytest.raises(ValueError, match="12 rows cannot be split over 8 devices"):
        check_batch(mesh, 12)


def test_parameters_lie_where_the_rules_say():
    config = MeshConfig(2, 2, 2)
    shardings = param_shardings(TINY_MODEL, make_mesh(config), config)
    layers = shardings["layers"]
    assert layers["mlp"]["wi_0"]["kernel"].spec == P(None, "fsdp", "model")
    assert layers["self_attention"]["out"]["kernel"].spec == P(None, "model", "fsdp")
    assert shardings["token_embedder"]["embedding"].spec == P("model", "fsdp")


def test_a_parameter_that_does_not_divide_is_named_with_its_size():
    config = MeshConfig(1, 1, 8)  # four heads of bias over eight devices
    with pytest.raises(ValueError, match=r"rel_embedding.*size 4 cannot be split over 8 devices"):
        param_shardings(TINY_MODEL, make_mesh(config, jax.devices()), config)


@dataclasses.dataclass(frozen=True)
class SliceDevice:
    """What a mesh asks a device, of one of several slices."""

    id: int
    slice_index: int
    process_index: int = 0
    platform: str = "cpu"
    device_kind: str = "cpu"


@pytest.mark.parametrize(
    ("shape", "axis"),
    [({"data": 2, "fsdp": 2, "model": 2}, 0), ({"data": 1, "fsdp": 4, "model": 2}, 1)],
)
def test_slices_meet_along_data_or_fsdp_only(shape, axis):
    devices = [SliceDevice(i, i // 4) for i in range(8)]
    mesh = make_mesh(MeshConfig(**shape), devices)
    slices = np.vectorize(lambda d: d.slice_index)(mesh.devices)
    others = tuple(a for a in range(3) if a != axis)
    assert (slices.min(axis=others) == slices.max(axis=others)).all()
    assert set(slices.flat) == {0, 1}


def test_slices_that_no_axis_can_span_are_refused():
    devices = [SliceDevice(i, i // 4) for i in range(8)]
    with pytest.raises(ValueError, match="2 slices cannot be dealt out along data 1 or fsdp 1"):
        make_mesh(MeshConfig(data=1, model=8), devices)
