"""SkyPilot task files: an experiment's jobs on machines of a cloud, TPUs or GPUs.

Field names and environment variables: SkyPilot's YAML reference, 0.14.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

from flan.experiments.backends.checks import check_at_least_one
from flan.experiments.backends.files import SUBMIT, to_yaml
from flan.experiments.backends.units import Unit, units, waves
from flan.experiments.graph import Job
from flan.experiments.state import EXPERIMENT_FILE

_RECORD = "/tmp/flan-experiment.json"
_PORT = 8476


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkyPilotSettings:
    """What SkyPilot is asked for.

    Attributes:
      storage: the bucket that all machines share, `gs://bucket/folder` or `s3://...`; its
        files lie below `mount`, models and caches too.
      mount: folder of the machines where it is mounted.
      data: bucket with TFDS datasets, mounted at `/data`; None where `--data_dir` names a
        folder of `storage`.
      accelerators: for training, as SkyPilot names them: `H100:8`, `tpu-v5e-8`, `tpu-v4-32`.
      eval_accelerators: for evaluation, on one host; None takes those of training.
      nodes: machines that train one model together; a TPU slice counts as one.
      runtime_version: of a TPU's machines; None takes SkyPilot's default.
      cpus, memory: of machines without accelerators, in cores and GB.
      infra: cloud, region and zone, `gcp/us-central1`; None takes the cheapest.
      use_spot: take machines that may be taken away; jobs go on from their checkpoints.
      setup: shell that installs `flan`, run in the folder that is copied from here.
      retries: times that a failed job is tried again.
    """

    storage: str
    mount: str = "/flan"
    data: str | None = None
    accelerators: str = "H100:8"
    eval_accelerators: str | None = None
    nodes: int = 1
    runtime_version: str | None = None
    cpus: str = "8+"
    memory: str = "32+"
    infra: str | None = None
    use_spot: bool = True
    setup: str | None = None
    retries: int = 1

    def __post_init__(self) -> None:
        if "://" not in self.storage:
            raise ValueError(
                f"SkyPilotSettings.storage must be a bucket such as gs://bucket, got {self.storage!r}"
            )
        check_at_least_one(self, "nodes")
        if self.tpu(self.accelerators) and self.nodes > 1:
            raise ValueError(
                f"SkyPilotSettings.nodes is {self.nodes}, but SkyPilot takes a TPU slice as one: "
                "name a larger slice"
            )
        if self.eval_accelerators is None and self._several_hosts():
            raise ValueError(
                f"{self.accelerators} is a slice of several hosts, and an evaluation runs on one: set "
                "SkyPilotSettings.eval_accelerators to a slice of one host"
            )

    @staticmethod
    def tpu(accelerators: str) -> bool:
        """Whether these are TPUs."""
        return accelerators.lower().startswith("tpu")

    def _several_hosts(self) -> bool:
        """Whether it is a TPU slice of more than one host, which hold 8 cores or chips at most."""
        size = self.accelerators.partition(":")[0].rpartition("-")[2]
        return self.tpu(self.accelerators) and size.isdigit() and int(size) > 8

    @property
    def data_dir(self) -> str | None:
        """Where the machines find the datasets."""
        return "/data" if self.data else None


def task_files(
    jobs: Sequence[Job], name: str, settings: SkyPilotSettings, folder: str
) -> dict[str, str]:
    """File name -> text: a task for each unit of an experiment, and `submit.sh`.

    Args:
      jobs: to submit, with the folders of the machines in their commands.
      name: of the experiment, for the names of tasks.
      settings: see there.
      folder: where the files will lie.
    """
    separate = settings.nodes > 1 or settings.eval_accelerators is not None
    found = units(jobs, f"flan-{name}", together=not separate)
    files = {f"{unit.name}.yaml": to_yaml(_task(unit, name, settings, folder)) for unit in found}
    return {**files, SUBMIT: _submit(waves(found), folder)}


def _task(unit: Unit, name: str, settings: SkyPilotSettings, folder: str) -> dict[str, Any]:
    accelerators = {
        "cpu": None,
        "train": settings.accelerators,
        "eval": settings.eval_accelerators or settings.accelerators,
    }[unit.kind]
    resources: dict[str, Any] = {}
    if settings.infra:
        resources["infra"] = settings.infra
    if accelerators is None:
        resources |= {"cpus": settings.cpus, "memory": settings.memory}
    else:
        resources["accelerators"] = accelerators
        if settings.tpu(accelerators) and settings.runtime_version:
            resources["accelerator_args"] = {"runtime_version": settings.runtime_version}
    resources["use_spot"] = settings.use_spot and accelerators is not None
    mounts: dict[str, Any] = {
        settings.mount: {"source": settings.storage, "mode": "MOUNT"},
        _RECORD: f"{folder}/{EXPERIMENT_FILE}",
    }
    if settings.data:
        mounts["/data"] = {"source": settings.data, "mode": "MOUNT"}
    return {
        "name": unit.name,
        "workdir": ".",
        "num_nodes": settings.nodes if unit.kind == "train" else 1,
        "resources": resources,
        "file_mounts": mounts,
        "setup": (settings.setup or _setup(accelerators)).rstrip() + "\n",
        "run": _run(unit, f"{settings.mount}/{name}", settings),
    }


def _setup(accelerators: str | None) -> str:
    extra = "cuda12"
    if accelerators is None:
        return "python3 -m pip install -e ."
    if SkyPilotSettings.tpu(accelerators):
        extra = "tpu"
    return f"python3 -m pip install -e . 'jax[{extra}]'"


def _run(unit: Unit, out: str, settings: SkyPilotSettings) -> str:
    # All hosts of a TPU slice run this, too, each with a rank of its own.
    lines = [
        'hosts=$(echo "$SKYPILOT_NODE_IPS" | wc -l)',
        f"python3 -m flan.experiments.job {shlex.join([out, *unit.jobs])} \\",
        f"  --record {_RECORD} --retries {settings.retries} \\",
        '  --num_processes "$hosts" --process_id "$SKYPILOT_NODE_RANK"',
    ]
    if unit.kind == "train" and not settings.tpu(settings.accelerators) and settings.nodes > 1:
        lines[-1] += " \\"
        first = '$(echo "$SKYPILOT_NODE_IPS" | head -n 1)'
        lines.append(f'  --coordinator_address "{first}:{_PORT}"')
    return "\n".join(lines) + "\n"


def _submit(ordered: Sequence[Sequence[Unit]], folder: str) -> str:
    lines = [
        "#!/bin/sh",
        "# Submits the tasks as managed jobs, each wave once the one before has ended.",
        "# Run it in the folder that is to be copied to the machines: the checkout of flan.",
        "# Run again, it goes on: jobs that are done end at once.",
    ]
    for wave in ordered:
        for unit in wave:
            file = shlex.quote(f"{folder}/{unit.name}.yaml")
            lines.append(f"sky jobs launch --yes --name {unit.name} {file} &")
        lines.append("wait")
    return "\n".join(lines) + "\n"
