"""From what a device does to seconds, hours, energy and money."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from flan.planning.counts import Counts, count
from flan.planning.program import Program, Work, compile_step
from flan.planning.topology import Topology

# Of the roofline, what well-tuned training reaches: 40 to 60% is usual for large models.
EFFICIENCY = 0.5
# Power of a data center over that of its chips, hosts and cooling included.
OVERHEAD = 1.3


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A compiled step on a topology.

    Attributes:
      topology, work, program, counts: what was planned.
      hbm_bytes: memory of a device; None where it is not known.
      compute_s, memory_s, network_s: least seconds of a step for the matrix products, the
        memory traffic and the collectives; None without figures of the device.
    """

    topology: Topology
    work: Work
    program: Program
    counts: Counts
    hbm_bytes: float | None
    compute_s: float | None
    memory_s: float | None
    network_s: float | None

    @property
    def fits(self) -> bool:
        """Whether a device holds it. True where nobody knows the device's memory."""
        if not self.program.text:
            return False
        return self.hbm_bytes is None or self.program.memory.total <= self.hbm_bytes

    @property
    def step_s(self) -> float | None:
        """The roofline: the longest of the three, everything else hidden behind it."""
        parts = (self.compute_s, self.memory_s, self.network_s)
        known = [part for part in parts if part is not None]
        return max(known) if known and self.program.text else None

    @property
    def bound(self) -> str:
        """What the roofline is made of."""
        parts = {
            "compute": self.compute_s,
            "memory": self.memory_s,
            "network": self.network_s,
        }
        return max(parts, key=lambda name: parts[name] or 0.0)

    @property
    def total_flops(self) -> float:
        """Matrix operations of a step on all devices."""
        return self.counts.matrix_flops * len(self.topology.devices)

    def hours(self, efficiency: float = 1.0) -> float | None:
        """Hours of the whole run at a share of the roofline's speed."""
        return self.step_s * self.work.steps / efficiency / 3600 if self.step_s else None

    def kilowatt_hours(self, efficiency: float) -> float | None:
        """Energy of the whole run."""
        hours, chip = self.hours(efficiency), self.topology.chip
        if hours is None or chip is None:
            return None
        return hours * self.topology.num_chips * chip.watts / 1000 * OVERHEAD

    def dollars(self, efficiency: float, price: float | None = None) -> float | None:
        """Cost of the whole run at `price` dollars a chip and hour, by default the list's."""
        hours, chip = self.hours(efficiency), self.topology.chip
        if hours is None or chip is None:
            return None
        return hours * self.topology.num_chips * (chip.usd_per_hour if price is None else price)

    def sent_by_kind(self) -> dict[str, float]:
        """Bytes that a device sends in a step, by kind of collective."""
        total: Counter[str] = Counter()
        for (kind, _), size in self.counts.collectives.items():
            total[kind] += size
        return dict(total)

    def to_json(self, efficiency: float = EFFICIENCY, price: float | None = None) -> dict[str, Any]:
        """Plain values: bytes, seconds, hours, kWh, US dollars."""
        work, memory = self.work, self.program.memory
        return {
            "topology": self.topology.name,
            "devices": len(self.topology.devices),
            "chips": self.topology.num_chips,
            "mesh": dict(zip(("data", "fsdp", "model"), mesh_shape(self), strict=True)),
            "remat": work.model.remat,
            "microbatches": work.step.microbatches,
            "parameters": work.model.num_parameters,
            "batch_rows": work.rows,
            "row_length": work.length,
            "max_targets": work.max_targets,
            "steps": work.steps,
            "fits": self.fits,
            "hbm_bytes": self.hbm_bytes,
            "memory_bytes": {**dataclasses.asdict(memory), "total": memory.total},
            "step_flops": self.total_flops,
            "rule_flops": work.rule_flops,
            "model_flops": work.model_flops,
            "device_memory_traffic_bytes": self.counts.memory_bytes,
            "device_sent_bytes": self.sent_by_kind(),
            "seconds": {
                "compute": self.compute_s,
                "memory": self.memory_s,
                "network": self.network_s,
                "step": self.step_s,
            },
            "bound": self.bound,
            "hours_roofline": self.hours(),
            "efficiency": efficiency,
            "hours": self.hours(efficiency),
            "kilowatt_hours": self.kilowatt_hours(efficiency),
            "usd": self.dollars(efficiency, price),
            "unknown_loops": self.counts.unknown_loops,
            "opaque_calls": dict(self.counts.opaque),
            "compile_seconds": self.program.compile_s,
        }


def mesh_shape(estimate: Estimate) -> tuple[int, int, int]:
    """Devices along data, fsdp and model."""
    return estimate.work.mesh.shape(len(estimate.topology.devices))


def estimate(work: Work, topology: Topology) -> Estimate:
    """Compiles the step and estimates it; ValueError for shapes that do not go together."""
    program = compile_step(work, topology.devices)
    counts = count(program.text, len(topology.devices)) if program.text else Counts()
    chip = topology.chip
    if chip is None:
        return Estimate(topology, work, program, counts, None, None, None, None)
    hbm = program.available or chip.device_hbm_bytes
    return Estimate(
        topology,
        work,
        program,
        counts,
        hbm,
        counts.matrix_flops / chip.device_flops(work.model.dtype),
        counts.memory_bytes / chip.device_hbm_bytes_per_s,
        _network_seconds(counts, program, topology),
    )


def _network_seconds(counts: Counts, program: Program, topology: Topology) -> float:
    total = 0.0
    for (_, group), size in counts.collectives.items():
        rate = topology.bandwidth([program.mesh_devices[number] for number in group])
        total += size / rate if rate else 0.0
    return total
