"""The device mesh, and which logical axis lies on which mesh axis.

Models name logical axes only (`embed`, `heads`, ...). The one table below maps them to
the mesh axes `data` (batch), `fsdp` (batch, and parameters by their embed axis) and
`model` (tensor parallelism).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.core import unfreeze
from flax.linen.partitioning import get_axis_names
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MESH_AXES = ("data", "fsdp", "model")

# First match wins, and a mesh axis is used once per array: an activation whose batch
# already lies on fsdp keeps its embed axis whole. Names without a rule are not sharded.
LOGICAL_AXIS_RULES: tuple[tuple[str, tuple[str, ...] | str | None], ...] = (
    ("batch", ("data", "fsdp")),
    ("vocab", "model"),
    ("heads", "model"),
    ("joined_kv", "model"),
    ("mlp", "model"),
    ("embed", "fsdp"),
    ("layers", None),
    ("length", None),
    ("kv", None),
)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How many devices each mesh axis spans; -1 (one axis at most) takes what is left.

    Attributes:
      data, fsdp, model: devices along the axis.
      rules: logical axis name -> mesh axis, several, or None.
    """

    data: int = -1
    fsdp: int = 1
    model: int = 1
    rules: tuple[tuple[str, tuple[str, ...] | str | None], ...] = LOGICAL_AXIS_RULES

    def shape(self, num_devices: int) -> tuple[int, int, int]:
        """Devices along (data, fsdp, model); ValueError where they do not multiply up."""
        sizes = [self.data, self.fsdp, self.model]
        if any(s == 0 or s < -1 for s in sizes) or sizes.count(-1) > 1:
            raise ValueError(
                f"mesh data x fsdp x model = {sizes}: sizes are 1 or more, one may be -1"
            )
        fixed = int(np.prod([s for s in sizes if s != -1]))
        if -1 in sizes:
            if num_devices % fixed:
                raise ValueError(
                    f"{num_devices} devices cannot be split into groups of {fixed} "
                    f"(mesh data x fsdp x model = {sizes})"
                )
            sizes[sizes.index(-1)] = num_devices // fixed
        elif fixed != num_devices:
            raise ValueError(
                f"mesh data x fsdp x model = {sizes} needs {fixed} devices, there are "
                f"{num_devices}; set one axis to -1 to take what is left"
            )
        return sizes[0], sizes[1], sizes[2]


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """The mesh over all devices (or the given ones), near ones along the later axes.

    Slices that only a data center's network connects are dealt out along `data`, or `fsdp`
    where `data` does not divide by their number: what they exchange is a gradient a step.

    Raises:
      ValueError: an impossible shape.
    """
    devices = jax.devices() if devices is None else devices
    shape = config.shape(len(devices))
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        placed = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
        return Mesh(placed, MESH_AXES, axis_types=(AxisType.Auto,) * 3)
    data, fsdp, model = shape
    if data % slices == 0:
        inner, outer = (data // slices, fsdp, model), (slices, 1, 1)
    elif fsdp % slices == 0:
        inner, outer = (data, fsdp // slices, model), (1, slices, 1)
    else:
        raise ValueError(
            f"{slices} slices cannot be dealt out along data {data} or fsdp {fsdp}; make one of "
            f"them a multiple of {slices}"
        )
    placed = mesh_utils.create_hybrid_device_mesh(
        inner, outer, devices, allow_split_physical_axes=True
    )
    return Mesh(placed, MESH_AXES, axis_types=(AxisType.Auto,) * 3)


@contextlib.contextmanager
def use_mesh(mesh: Mesh, config: MeshConfig) -> Iterator[None]:
    """Within it, the models' logical axes mean places on `mesh`."""
    with jax.set_mesh(mesh), nn.logical_axis_rules(config.rules):
        yield


def logical_axes(params_axes: Any) -> Any:
    """Flax's `params_axes` collection -> a tree like the parameters, of PartitionSpecs of names."""
    return unfreeze(get_axis_names(params_axes))


def mesh_sharding(mesh: Mesh, config: MeshConfig, logical: Any) -> Any:
    """A tree of logical PartitionSpecs -> a tree of NamedShardings."""
    return nn.logical_to_mesh_sharding(logical, mesh, config.rules)


def check_divisible(mesh: Mesh, shapes: Any, shardings: Any) -> None:
    """ValueError naming the first array whose axis its mesh axes do not divide, with both numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    for (path, leaf), sharding in zip(leaves, jax.tree.leaves(shardings), strict=True):
        for axis, names in enumerate(sharding.spec):
            names = (names,) if isinstance(names, str) else names or ()
            parts = int(np.prod([mesh.shape[n] for n in names]))
            if leaf.shape[axis] % parts:
                raise ValueError(
                    f"parameter {jax.tree_util.keystr(path)} of shape {leaf.shape}: axis {axis} "
                    f"of size {leaf.shape[axis]} cannot be split over {parts} devices (mesh axes "
                    f"{', '.join(names)}); change the mesh or the model's size"
                )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data and fsdp, lengths whole."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def check_batch(mesh: Mesh, rows: int) -> None:
    """ValueError unless `rows` divide over the mesh's batch axes."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if rows % parts:
        raise ValueError(
            f"a batch of {rows} rows cannot be split over {parts} devices "
            f"(data {mesh.shape['data']} x fsdp {mesh.shape['fsdp']}); "
            "make BATCH_SIZE a multiple, or give the model axis more devices"
        )
