"""Kubernetes JobSet manifests: an experiment's jobs as pods, on GPUs or on TPU slices of GKE.

Fields: JobSet's API v1alpha2. Labels of TPU nodes: GKE's documentation of TPUs.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from flan.experiments.backends.checks import check_at_least_one
from flan.experiments.backends.files import SUBMIT, to_yaml
from flan.experiments.backends.units import Unit, unit_name, units, waves
from flan.experiments.graph import Job
from flan.experiments.state import EXPERIMENT_FILE

_PORT = 8476
_RECORD = "/etc/flan"
_REPLICATED = "hosts"
_LARGEST_MAP = 1_000_000  # bytes; Kubernetes allows a ConfigMap 1 MiB, its other fields included
_LONGEST_WAIT = "8760h"  # a year; to kubectl no limit means a week
_INDEX = "metadata.annotations['jobset.sigs.k8s.io/job-index']"


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobSetSettings:
    """What Kubernetes is asked for.

    Attributes:
      image: container image with `flan` installed.
      volume_claim: PersistentVolumeClaim that all pods share (ReadWriteMany); models, caches
        and results lie on it.
      mount: folder of the pods where it is mounted.
      namespace: None takes the current one.
      resource: what a host has of accelerators, `nvidia.com/gpu` or `google.com/tpu`.
      per_host: how many of it.
      hosts: that train one model together; of each slice, for TPUs.
      slices: TPU slices that train one model together.
      node_selector: labels of the nodes with accelerators, such as
        `cloud.google.com/gke-tpu-topology`.
      eval_node_selector: the same for evaluation, on one host; None takes those of training.
      cpu, memory: of pods without accelerators.
      queue: Kueue's LocalQueue, or None.
      restarts: times that a unit begins again after a pod was lost.
      retries: times that a failed job is tried again in its pod.
    """

    image: str
    volume_claim: str
    mount: str = "/flan"
    namespace: str | None = None
    resource: str = "nvidia.com/gpu"
    per_host: int = 8
    hosts: int = 1
    slices: int = 1
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    eval_node_selector: Mapping[str, str] | None = None
    cpu: str = "8"
    memory: str = "32Gi"
    queue: str | None = None
    restarts: int = 10
    retries: int = 1

    def __post_init__(self) -> None:
        check_at_least_one(self, "per_host", "hosts", "slices")
        if self.slices > 1 and not self.tpu:
            raise ValueError(
                f"JobSetSettings.slices is {self.slices}, but {self.resource} has no slices: set hosts"
            )
        if self.tpu and self.processes > 1 and self.eval_node_selector is None:
            raise ValueError(
                "JobSetSettings.eval_node_selector must be set: an evaluation runs on one host, "
                f"and training on a TPU slice of {self.processes}"
            )

    @property
    def tpu(self) -> bool:
        """Whether the accelerators are TPUs."""
        return self.resource == "google.com/tpu"

    @property
    def processes(self) -> int:
        """That train one model together."""
        return self.hosts * self.slices


def manifests(
    jobs: Sequence[Job], name: str, settings: JobSetSettings, folder: str, record: str
) -> dict[str, str]:
    """File name -> text: a JobSet for each unit of an experiment, its record, and `submit.sh`.

    Args:
      jobs: to submit, with the folders of the pods in their commands.
      name: of the experiment, for the names of JobSets.
      settings: see there.
      folder: where the files will lie.
      record: text of `experiment.json`, which becomes a ConfigMap.

    Raises ValueError for a record that no ConfigMap can hold.
    """
    if len(record.encode()) > _LARGEST_MAP:
        raise ValueError(
            f"the experiment's record has {len(record.encode()):,} bytes; a ConfigMap holds "
            f"{_LARGEST_MAP:,}: make several experiments of it, each with some of its runs"
        )
    separate = settings.processes > 1 or settings.eval_node_selector is not None
    found = units(jobs, f"flan-{name}", together=not separate)
    shared = unit_name(f"flan-{name}", "record")
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(shared, settings),
        "data": {EXPERIMENT_FILE: record},
    }
    files = {f"{unit.name}.yaml": to_yaml(_jobset(unit, name, settings, shared)) for unit in found}
    script = _submit(waves(found), folder, settings)
    return {"record.yaml": to_yaml(config), **files, SUBMIT: script}


def _metadata(name: str, settings: JobSetSettings, **more: Any) -> dict[str, Any]:
    namespace = {"namespace": settings.namespace} if settings.namespace else {}
    return {"name": name, **namespace, **more}


def _jobset(unit: Unit, name: str, settings: JobSetSettings, shared: str) -> dict[str, Any]:
    together = unit.kind == "train" and settings.processes > 1
    labels = {"labels": {"kueue.x-k8s.io/queue-name": settings.queue}} if settings.queue else {}
    if together and settings.slices > 1:
        # One child job a node pool: the hosts of a slice must share their network.
        exclusive = "alpha.jobset.sigs.k8s.io/exclusive-topology"
        labels["annotations"] = {exclusive: "cloud.google.com/gke-nodepool"}
    hosts = settings.hosts if together else 1
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _metadata(unit.name, settings, **labels),
        "spec": {
            # Hosts that train together begin again together.
            "failurePolicy": {"maxRestarts": settings.restarts},
            "network": {"enableDNSHostnames": True},
            "replicatedJobs": [
                {
                    "name": _REPLICATED,
                    "replicas": settings.slices if together else 1,
                    "template": {
                        "spec": {
                            "parallelism": hosts,
                            "completions": hosts,
                            "completionMode": "Indexed",
                            "backoffLimit": 0,
                            "template": {"spec": _pod(unit, name, settings, shared, together)},
                        }
                    },
                }
            ],
        },
    }


def _pod(
    unit: Unit, name: str, settings: JobSetSettings, shared: str, together: bool
) -> dict[str, Any]:
    selector = settings.node_selector
    if unit.kind == "eval" and settings.eval_node_selector is not None:
        selector = settings.eval_node_selector
    accelerated = {settings.resource: settings.per_host}
    plain = {"cpu": settings.cpu, "memory": settings.memory}
    container: dict[str, Any] = {
        "name": "flan",
        "image": settings.image,
        "command": ["sh", "-c", _script(unit, name, settings, together)],
        "resources": {"requests": plain}
        if unit.kind == "cpu"
        else {"requests": dict(accelerated), "limits": dict(accelerated)},
        "volumeMounts": [
            {"name": "shared", "mountPath": settings.mount},
            {"name": "record", "mountPath": _RECORD},
        ],
    }
    if together:
        container["env"] = [{"name": "JOB_INDEX", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}}]
    return {
        "restartPolicy": "Never",
        # Time to save when a pod is asked to leave.
        "terminationGracePeriodSeconds": 300,
        **({"nodeSelector": dict(selector)} if selector and unit.kind != "cpu" else {}),
        "containers": [container],
        "volumes": [
            {"name": "shared", "persistentVolumeClaim": {"claimName": settings.volume_claim}},
            {"name": "record", "configMap": {"name": shared}},
        ],
    }


def _script(unit: Unit, name: str, settings: JobSetSettings, together: bool) -> str:
    # Kubernetes would put variables in the place of `$(NAME)`, and takes `$$` for a `$`.
    command = shlex.join([f"{settings.mount}/{name}", *unit.jobs]).replace("$", "$$")
    lines = [
        f"exec python3 -m flan.experiments.job {command} \\",
        f"  --record {_RECORD}/{EXPERIMENT_FILE} --retries {settings.retries}",
    ]
    if together:
        # The Job's controller gives pods of an Indexed job their number.
        rank = f"$((JOB_INDEX * {settings.hosts} + JOB_COMPLETION_INDEX))"
        lines[-1] += f" \\\n  --num_processes {settings.processes} --process_id {rank}"
        if not settings.tpu:
            first = f"{unit.name}-{_REPLICATED}-0-0.{unit.name}"
            lines[-1] += f" \\\n  --coordinator_address {first}:{_PORT}"
    return "\n".join(lines) + "\n"


def _submit(ordered: Sequence[Sequence[Unit]], folder: str, settings: JobSetSettings) -> str:
    kubectl = f"kubectl --namespace {settings.namespace}" if settings.namespace else "kubectl"
    lines = [
        "#!/bin/sh",
        "# Applies the JobSets, each wave once the one before has ended, well or not.",
        "# Needs kubectl 1.31 or newer, and JobSet in the cluster. To go on after a failure,",
        "# delete the failed JobSets and run it again: jobs that are done end at once.",
        "set -e",
        f"cd {shlex.quote(folder)}",
        f"{kubectl} apply -f record.yaml",
    ]
    for wave in ordered:
        lines += [f"{kubectl} apply -f {unit.name}.yaml" for unit in wave]
        names = " ".join(f"jobset/{unit.name}" for unit in wave)
        lines.append(
            f"{kubectl} wait --for=jsonpath='{{.status.terminalState}}' --timeout={_LONGEST_WAIT} {names}"
        )
    return "\n".join(lines) + "\n"
