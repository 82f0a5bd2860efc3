"""Where a model that is evaluated lies: on all devices, which share the rows of a batch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import Mesh

from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig, make_mesh, use_mesh

# Of a device's memory, what parameters may take; the rest is for activations and caches.
_SHARE_FOR_PARAMETERS = 0.6


@dataclasses.dataclass(frozen=True)
class Placement:
    """A mesh, and how it is used.

    Attributes:
      mesh: its devices.
      config: what its axes mean.
    """

    mesh: Mesh
    config: MeshConfig

    @property
    def parts(self) -> int:
        """Into how many parts the rows of a batch are split."""
        return self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    def shardings(self, config: ModelConfig) -> Any:
        """A sharding for each parameter; ValueError where sizes do not divide."""
        from flan.training.state import param_shardings

        return param_shardings(config, self.mesh, self.config)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within it, models compute on the mesh."""
        with use_mesh(self.mesh, self.config):
            yield


def place(config: ModelConfig, devices: int | None = None, model: int | None = None) -> Placement:
    """A mesh for a model.

    Args:
      config: the model.
      devices: how many devices to use, the first ones; None for all.
      model: devices that share one copy of the parameters. None takes as few as have the
        memory for it: 1 where a device does not say how much it has.

    Raises:
      ValueError: more devices than there are, or a number that `model` does not divide.
    """
    there = jax.devices()
    if devices is not None and not 1 <= devices <= len(there):
        raise ValueError(f"{devices} devices were asked for, there are {len(there)}")
    chosen = there[:devices]
    mesh_config = MeshConfig(model=model or _fewest(config, chosen))
    return Placement(make_mesh(mesh_config, chosen), mesh_config)


def _fewest(config: ModelConfig, devices: list[jax.Device]) -> int:
    """The smallest power of two of devices, dividing their number, that hold the parameters."""
    limit = (devices[0].memory_stats() or {}).get("bytes_limit")
    size = config.num_parameters * jax.numpy.dtype(config.param_dtype).itemsize
    count = 1
    while (
        limit and size / count > _SHARE_FOR_PARAMETERS * limit and len(devices) % (2 * count) == 0
    ):
        count *= 2
    return count
