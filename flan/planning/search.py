"""Tries meshes, remat policies and microbatches; the fastest that fits wins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from flan.models.config import Remat
from flan.planning.estimate import Estimate, estimate
from flan.planning.program import Work, least_bytes, state_bytes
from flan.planning.topology import Topology

REMATS: tuple[Remat, ...] = ("none", "dots", "full")


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search did.

    Attributes:
      tried: estimates, in the order they were made.
      too_large: candidates whose state, gradients and kept activations alone do not fit.
      left: candidates that were not reached.
    """

    tried: list[Estimate]
    too_large: int
    left: int

    @property
    def best(self) -> Estimate | None:
        """The fastest that fits; of devices without figures, the smallest."""
        fitting = [e for e in self.tried if e.fits]
        return min(fitting, key=_badness, default=None)


def _badness(made: Estimate) -> tuple[float, int]:
    return made.step_s or 0.0, made.program.memory.total


def candidates(work: Work, topology: Topology) -> list[tuple[Work, int]]:
    """All that go together, with the bytes that they need at least, promising ones first."""
    count = len(topology.devices)
    found = []
    for data, fsdp, model in _meshes(count):
        if work.rows % (data * fsdp):
            continue
        mesh = dataclasses.replace(work.mesh, data=data, fsdp=fsdp, model=model)
        placed = dataclasses.replace(work, mesh=mesh)
        try:
            state = state_bytes(placed, topology.devices)
        except ValueError:  # the model's sizes do not divide
            continue
        for parts in _powers(work.rows // (data * fsdp)):
            for remat in REMATS:
                candidate = dataclasses.replace(
                    placed,
                    step=dataclasses.replace(work.step, microbatches=parts),
                    model=dataclasses.replace(work.model, remat=remat),
                )
                found.append((candidate, least_bytes(candidate, count, state)))
    return sorted(found, key=lambda pair: _rough_seconds(pair[0], topology))


def search(
    work: Work,
    topology: Topology,
    max_candidates: int,
    report: Callable[[Estimate], None] = lambda made: None,
) -> Found:
    """Compiles up to `max_candidates` that may fit, most promising first.

    Args:
      work: what is trained; its mesh, remat and microbatches are replaced.
      topology: the devices.
      max_candidates: programs to compile at most.
      report: told each estimate when it is made.

    Returns:
      What was tried. ValueError where no mesh goes with the batch and the model's sizes.
    """
    all_of_them = candidates(work, topology)
    if not all_of_them:
        raise ValueError(
            f"no mesh of {len(topology.devices)} devices goes with a batch of {work.rows} rows "
            f"and {work.model.num_heads} heads; change BATCH_SIZE or the topology"
        )
    chip = topology.chip
    may_fit = [
        candidate
        for candidate, least in all_of_them
        if chip is None or least <= chip.device_hbm_bytes
    ]
    too_large = len(all_of_them) - len(may_fit)
    tried = []
    for candidate in may_fit[:max_candidates]:
        made = estimate(candidate, topology)
        tried.append(made)
        report(made)
    return Found(tried, too_large, len(may_fit) - len(tried))


def _meshes(count: int) -> Iterator[tuple[int, int, int]]:
    """Every data x fsdp x model of `count` devices."""
    for model in _divisors(count):
        for fsdp in _divisors(count // model):
            yield count // model // fsdp, fsdp, model


def _divisors(count: int) -> list[int]:
    return [d for d in range(1, count + 1) if count % d == 0]


def _powers(rows: int) -> Sequence[int]:
    """1, 2, 4, ... as far as they divide the rows."""
    return [2**e for e in range(rows.bit_length()) if rows % 2**e == 0]


def _rough_seconds(work: Work, topology: Topology) -> float:
    """Order of candidates before anything is compiled: products, and what must be sent.

    Tensor parallelism sums two layer outputs forward and two backward (again in what remat
    repeats); fsdp gathers each parameter forward and backward and scatters its gradient.
    """
    model = work.model
    count = len(topology.devices)
    data, fsdp, parts = work.mesh.shape(count)
    remat = {"none": 6, "dots": 6.5, "full": 8}[model.remat]
    flops = remat * model.num_parameters * work.tokens / count
    itemsize = model.compute_dtype.itemsize
    outputs = work.tokens / (data * fsdp) * model.d_model * max(itemsize, 4)
    sent = 0.0
    if parts > 1:
        sent += model.num_layers * outputs * 2 * (6 if model.remat == "full" else 4)
    shard = model.num_parameters * 4 / parts
    if fsdp > 1:
        sent += 3 * work.step.microbatches * shard * (fsdp - 1) / fsdp
    if data > 1:
        sent += 2 * shard / fsdp
    chip = topology.chip
    if chip is None:
        return flops + 100 * sent
    rate = max(chip.axes, 1) * chip.link_gb_s * 1e9 / chip.devices
    return max(flops / chip.device_flops(model.dtype), sent / rate) + 1e-3 * work.step.microbatches
