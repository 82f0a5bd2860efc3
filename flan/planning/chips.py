"""Figures of accelerators, from `chips.yaml` beside this file."""

from __future__ import annotations

import dataclasses
import functools
from importlib import resources
from typing import Any

import yaml


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of accelerator; the YAML file says what each figure means and where it is from.

    Those of a whole chip unless a property says otherwise.
    """

    name: str
    hbm_gib: float
    hbm_gb_s: float
    bf16_tflops: float
    float32_share: float
    link_gb_s: float
    watts: float
    usd_per_hour: float
    source: str
    devices: int = 1
    names: tuple[str, ...] = ()
    count: str = "chips"
    libtpu: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)
    axes: int = 0
    wraps: int = 0
    dcn_gb_s: float | None = None
    kinds: tuple[str, ...] = ()

    @property
    def device_hbm_bytes(self) -> float:
        """Main memory of a JAX device."""
        return self.hbm_gib * 2**30 / self.devices

    @property
    def device_hbm_bytes_per_s(self) -> float:
        """Memory bandwidth of a JAX device."""
        return self.hbm_gb_s * 1e9 / self.devices

    def device_flops(self, dtype: str) -> float:
        """Peak of matrix products of a JAX device, in operations/s, at a compute dtype."""
        share = 1.0 if dtype == "bfloat16" else self.float32_share
        return self.bf16_tflops * 1e12 * share / self.devices


@functools.cache
def chips() -> dict[str, Chip]:
    """All that are known, by name."""
    text = resources.files("flan.planning").joinpath("chips.yaml").read_text(encoding="utf-8")
    values: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: Chip(name, **_tuples(entry)) for name, entry in values.items()}


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}


def chip_of_kind(device_kind: str) -> Chip | None:
    """The chip that a JAX device says it is; None for those without figures."""
    return next((c for c in chips().values() if device_kind in c.kinds), None)
