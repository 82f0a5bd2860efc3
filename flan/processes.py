"""Several processes that train one model: how they meet, which rows each reads, what they share.

Each process runs the same program over its own devices; JAX joins the devices into one
mesh. What must be written once is written by process 0.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from flan import partitioning

# What srun and mpirun tell each of the processes that they start: how many there are. An
# environment of sbatch alone, before srun, has no STEP.
_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_NAMES = ("TPU_WORKER_HOSTNAMES",)  # a TPU pod's hosts, joined by commas


def connect(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    detect: bool = False,
) -> None:
    """Joins the processes of a run; to be called before JAX is used.

    Does nothing for a single process.

    Args:
      coordinator_address: HOST:PORT of process 0, reachable from all.
      num_processes: how many there are.
      process_id: which one this is, from 0.
      detect: have JAX find the three out (TPU pods, SLURM, Open MPI, Kubernetes), which
        is also done where the environment says that there are several processes.

    Raises:
      ValueError: some of the three are missing, or impossible.
      ConnectionError: the others did not come within five minutes.
    """
    given = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        if detect or _several():
            _initialize()
        return
    if missing:
        raise ValueError(
            "several processes need --coordinator_address, --num_processes and --process_id, all "
            f"three; missing: {', '.join('--' + name for name in missing)}"
        )
    assert coordinator_address is not None
    assert num_processes is not None
    assert process_id is not None
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(
            f"--coordinator_address must be HOST:PORT of process 0, got {coordinator_address!r}"
        )
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise ValueError(
            f"--process_id {process_id} is not one of --num_processes {num_processes} (counted "
            "from 0)"
        )
    if num_processes > 1:
        _initialize(coordinator_address, num_processes, process_id)


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return jax.process_index() == 0


def share_of_rows(mesh: Mesh, rows: int) -> tuple[int, int]:
    """Which part of each batch this process reads: the first of the pair, of so many.

    Processes whose devices hold the same rows (the model axis spans them) read the same
    part. Where a process's devices hold rows from here and there, it reads them all: (0, 1).
    """
    places: Any = partitioning.batch_sharding(mesh).devices_indices_map((rows,))
    spans: dict[int, set[tuple[int, int]]] = {}
    for device, (place,) in places.items():
        spans.setdefault(device.process_index, set()).add(place.indices(rows)[:2])
    return share(spans, jax.process_index(), rows)


def share(spans: Mapping[int, set[tuple[int, int]]], process: int, rows: int) -> tuple[int, int]:
    """`share_of_rows` from the ranges of rows that the devices of each process hold."""
    parts = {number: _joined(pieces) for number, pieces in spans.items()}
    sizes = {part and part[1] - part[0] for part in parts.values()}
    size = sizes.pop()
    mine = parts[process]
    even = not sizes and size and all(part and not part[0] % size for part in parts.values())
    if not even or not mine or not size:
        return 0, 1
    return mine[0] // size, rows // size


def check_same(what: str, fingerprint: str) -> None:
    """ValueError on all processes where they do not agree on a hex fingerprint."""
    if jax.process_count() == 1:
        return
    mine = np.frombuffer(bytes.fromhex(fingerprint), np.uint8)
    others = np.asarray(multihost_utils.process_allgather(mine))
    different = [p for p, other in enumerate(others) if not np.array_equal(other, others[0])]
    if different:
        raise ValueError(
            f"processes {different} read other {what} than process 0: give all the same settings, "
            "templates and data (a shared folder, or equal copies)"
        )


def _several() -> bool:
    counts = [os.environ.get(name, "") for name in _COUNTS]
    names = [os.environ.get(name, "") for name in _NAMES]
    return any(count.isdigit() and int(count) > 1 for count in counts) or any(
        "," in name for name in names
    )


def _initialize(*settings: str | int) -> None:
    # Ignored where the devices are no CPUs; without it CPUs of several processes cannot talk.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(*settings)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise ConnectionError(
            f"the processes of the run did not meet: {' '.join(str(error).split())[:300]}"
        ) from error


def _joined(pieces: set[tuple[int, int]]) -> tuple[int, int] | None:
    """The one range that the pieces make up; None where there are gaps."""
    ordered = sorted(pieces)
    if any(one[1] != two[0] for one, two in itertools.pairwise(ordered)):
        return None
    return ordered[0][0], ordered[-1][1]
