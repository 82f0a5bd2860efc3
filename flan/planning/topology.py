"""Names of slices and machines -> devices to compile for, none of which need exist here."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import math
import os
import re
from typing import Any

import jax

from flan.planning.chips import Chip, chip_of_kind, chips
from flan.suggest import unknown_name

log = logging.getLogger("flan")

EXTRA = "tpu-planning"
_SHAPE = re.compile(r"(?:tpu-)?([a-z0-9]+):(\d+(?:x\d+){0,2})")
_COUNTED = re.compile(r"(?:tpu-)?([a-z0-9]+)-(\d+)")
_SLICES = re.compile(r"(\d+)x(?=[a-z])")
_LOCAL = re.compile(r"(cpu|gpu|cuda)(?::(\d+))?")
# libtpu asks the cloud's metadata server for all this, waits for an answer and complains.
_QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v3-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    # Two plans at a time: no hardware is touched, so its lock file means nothing.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices, and what is known of them.

    Attributes:
      name: in one spelling, `v3:8x8`.
      devices: JAX devices, real or described.
      chip: figures; None where the file has none.
      shape: chips along each axis of a slice's interconnect; empty where there is none.
    """

    name: str
    devices: list[Any]
    chip: Chip | None
    shape: tuple[int, ...] = ()

    @property
    def num_chips(self) -> int:
        """Chips; of local devices without figures, the devices."""
        return len(self.devices) // (self.chip.devices if self.chip else 1)

    def bandwidth(self, group: list[Any]) -> float | None:
        """Bytes/s that each device of a group can send within it; None where unknown.

        A group sends along the axes that its chips are spread over, both ways around where
        the axis closes to a ring. Cores that share a chip share its links. Devices of one
        chip alone are taken to talk at the speed of one axis, and an empty group is what
        `flan.planning.collectives` gives for devices of several slices.
        """
        if self.chip is None:
            return None
        if not group:
            return self.chip.dcn_gb_s * 1e9 / self.chip.devices if self.chip.dcn_gb_s else None
        if not self.shape:
            return self.chip.link_gb_s * 1e9
        coords = [tuple(device.coords) for device in group]
        links = 0
        for axis, side in enumerate(self.shape):
            if len({c[axis] for c in coords}) > 1:
                links += 2 if side % self.chip.wraps == 0 else 1
        return max(links, 1) * self.chip.link_gb_s * 1e9 / self.chip.devices


def find_topology(name: str) -> Topology:
    """The devices that a name means.

    `v3:8x8` gives chips along each axis; `v3-128`, `tpu-v4-128`, `v5p-64`, `v5litepod-16`,
    `v6e-8` count as Google Cloud does (cores up to v5p, chips for v5e and v6e); `2xv5p-64` are
    two such slices; `cpu`, `cpu:8` and `gpu` are devices of this machine.

    Raises:
      ValueError: a name that means nothing, or libtpu is not installed.
    """
    text = name.strip().lower()
    if local := _LOCAL.fullmatch(text):
        return _local(local[1], int(local[2]) if local[2] else None)
    by_name = {n: chip for chip in chips().values() for n in chip.names}
    slices = 1
    if several := _SLICES.match(text):
        slices, text = int(several[1]), text[several.end() :]
    if shape := _SHAPE.fullmatch(text):
        chip = by_name.get(shape[1])
        sides = tuple(int(side) for side in shape[2].split("x"))
    elif counted := _COUNTED.fullmatch(text):
        chip = by_name.get(counted[1])
        sides = _sides(chip, int(counted[2]), name) if chip else ()
    else:
        chip = None
    if chip is None:
        raise ValueError(unknown_name("topology", name, _examples()))
    if slices != 1 and (slices < 1 or chip.dcn_gb_s is None):
        able = ", ".join(c.name for c in chips().values() if c.dcn_gb_s is not None)
        raise ValueError(
            f"topology {name!r}: {slices} slices of {chip.name}; there are 1 or more slices, and "
            f"several of {able}"
        )
    return _described(chip, sides, slices, name)


def _examples() -> list[str]:
    named = ["v2-32", "v3-128", "v4-128", "v5litepod-16", "v5e-16", "v5p-64", "v6e-8"]
    shaped = ["v3:8x8", "v4:4x4x4", "v5e:4x4", "v5p:4x4x4", "v6e:2x4"]
    several = ["2xv5p-64", "2xv4:4x4x4"]
    return [*shaped, *named, *several, *(f"tpu-{n}" for n in named), "cpu", "cpu:8", "gpu"]


def _sides(chip: Chip, count: int, name: str) -> tuple[int, ...]:
    """The usual shape of a slice of `count` cores or chips: powers of two, as even as can be."""
    per_chip = 2 if chip.count == "cores" else 1
    number = count // per_chip
    if count % per_chip or number < 1 or number & (number - 1):
        near = 2 ** max(0, round(math.log2(max(number, 1))))
        raise ValueError(
            f"topology {name!r}: slices have a power of two of {chip.count}, got {count}; try "
            f"{chip.names[0]}-{near * per_chip}, or give the shape as in "
            f"{chip.name}:{'x'.join(['4'] * chip.axes)}"
        )
    exponent = number.bit_length() - 1
    sides = [2 ** ((exponent + axis) // chip.axes) for axis in range(chip.axes)]
    return tuple(s for s in sides if s > 1) + tuple(s for s in sides if s == 1)


def _described(chip: Chip, sides: tuple[int, ...], slices: int, name: str) -> Topology:
    """Slices as libtpu describes them."""
    if len(sides) != chip.axes or min(sides) < 1:
        raise ValueError(
            f"topology {name!r}: {chip.name} slices have {chip.axes} axes, as in "
            f"{chip.name}:{'x'.join(['4'] * chip.axes)}"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            f"planning for {name!r} needs libtpu, which compiles for TPUs without one: "
            f'pip install "flan-jax[{EXTRA}]", or pip install "jax[tpu]"'
        )
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    from jax.experimental import topologies

    shape = "x".join(map(str, sides))
    options: dict[str, Any] = dict(chip.libtpu)
    several = {"num_slices": slices} if slices > 1 else {}
    try:
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=f"{options.pop('name')}:{shape}", **options, **several
        )
    except (RuntimeError, ValueError) as error:
        # Slices smaller than a host have no other hosts to be divided into.
        if len(sides) == 3 or math.prod(sides) > 2 or "divisible" not in str(error):
            raise ValueError(f"topology {name!r}: libtpu says: {_first_line(error)}") from error
        described = topologies.get_topology_desc(
            platform="tpu",
            topology_name=f"{chip.libtpu['name']}:{shape}",
            chips_per_host_bounds=(*sides, 1),
            **several,
        )
    full_name = f"{chip.name}:{shape}" if slices == 1 else f"{slices}x{chip.name}:{shape}"
    return Topology(full_name, list(described.devices), chip, sides)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _local(platform: str, count: int | None) -> Topology:
    """Devices of this machine; `cpu:8` makes eight of the one CPU."""
    said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if platform == "cpu" and count is not None and not said:
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            log.debug("JAX has started already; its CPU devices stay as they are")
    try:
        devices = jax.devices(platform)
    except RuntimeError as error:
        raise ValueError(f"no {platform} here: {_first_line(error)}") from error
    if count is not None and len(devices) < count:
        raise ValueError(
            f"topology '{platform}:{count}' asks for {count} devices, there are {len(devices)}"
        )
    devices = devices[:count]
    name = f"{platform}:{len(devices)}"
    return Topology(name, devices, chip_of_kind(devices[0].device_kind))
