"""Jobs through SLURM, by submitit; also through submitit's local executor, to try it out.

The launcher submits each job once those it needs are done, and waits. It may be killed: jobs
in the queue go on, and the next launch finds them by their ids. Before its time limit SLURM
has a job save and submitit puts it back into the queue.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.data import atomic
from flan.experiments.backends.checks import check_at_least_one
from flan.experiments.graph import Job
from flan.experiments.state import JobState, job_folder, read_state, write_state

_SUBMITTED = "submitted.json"
_LOGS = "submitit"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """What SLURM is asked for.

    Attributes:
      cluster: `slurm`, or `local` for submitit's processes on this machine.
      partition, account, qos, constraint: as sbatch takes them; None leaves them out.
      cpu_partition: for `prepare` and `report`, which need no accelerator; None takes
        `partition`.
      nodes: that train one model together, one process a GPU.
      gpus_per_node: for training; an evaluation gets one node of as many.
      cpus_per_task: of each process.
      mem_gb: of each node.
      timeout_min: time limit of a job, in minutes.
      signal_delay_s: seconds before it that a job is told to save.
      max_requeues: times that a job may reach its time limit and go on.
      setup: lines of shell before a job, `module load cuda`, say.
      additional: more of sbatch's options, name -> value.
    """

    cluster: str = "slurm"
    partition: str | None = None
    cpu_partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int = 1
    gpus_per_node: int = 1
    cpus_per_task: int = 8
    mem_gb: float | None = None
    timeout_min: int = 24 * 60
    signal_delay_s: int = 300
    max_requeues: int = 20
    setup: Sequence[str] = ()
    additional: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cluster not in ("slurm", "local"):
            raise ValueError(f"SlurmSettings.cluster must be slurm or local, got {self.cluster!r}")
        check_at_least_one(self, "nodes", "cpus_per_task", "timeout_min")
        if self.gpus_per_node < 0:
            raise ValueError(
                f"SlurmSettings.gpus_per_node must not be negative, got {self.gpus_per_node}"
            )
        if self.signal_delay_s >= 60 * self.timeout_min:
            raise ValueError(
                f"SlurmSettings.signal_delay_s ({self.signal_delay_s} s) must be below timeout_min "
                f"({self.timeout_min} min)"
            )

    def of(self, job: Job) -> dict[str, Any]:
        """Parameters of submitit for a job."""
        kind = job.name.rpartition("/")[2]
        accelerated = kind in ("train", "eval")
        nodes = self.nodes if kind == "train" else 1
        given = {
            "name": f"flan-{job.name.replace('/', '-')}",
            "nodes": nodes,
            # JAX takes one GPU a process under srun; alone on a node, a process has them all.
            "tasks_per_node": max(1, self.gpus_per_node) if nodes > 1 else 1,
            "gpus_per_node": self.gpus_per_node if accelerated else None,
            "cpus_per_task": self.cpus_per_task,
            "mem_gb": self.mem_gb,
            "timeout_min": self.timeout_min,
            "slurm_partition": self.partition
            if accelerated
            else self.cpu_partition or self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint if accelerated else None,
            "slurm_signal_delay_s": self.signal_delay_s,
            "slurm_setup": list(self.setup) or None,
            "slurm_additional_parameters": dict(self.additional) or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def describe(self, job: Job) -> str:
        """The same in one line, for people."""
        return " ".join(f"{n.removeprefix('slurm_')}={v}" for n, v in self.of(job).items())


class SlurmBackend:
    """Submits each job through submitit.

    Raises ValueError, on construction, where submitit or SLURM is missing.
    """

    def __init__(self, settings: SlurmSettings) -> None:
        try:
            import submitit
        except ImportError as error:
            raise ValueError(
                "--backend=slurm needs submitit: pip install 'flan-jax[slurm]'"
            ) from error
        self._settings, self._submitit = settings, submitit
        if settings.cluster == "slurm" and not submitit.SlurmExecutor.affinity() > 0:
            raise ValueError(
                "--backend=slurm found no `srun`: launch on a SLURM machine, or try it with "
                "--gin.SlurmSettings.cluster=local"
            )

    def start(self, out: Path, job: Job) -> SlurmJob:
        """Submits a job, or finds it in the queue, where an earlier launch has put it."""
        logs = out / _LOGS / job.name.replace("/", ".")
        note = job_folder(out, job.name) / _SUBMITTED
        if found := self._submitted(note, logs, job):
            return found
        cluster = self._settings.cluster
        executor = self._submitit.AutoExecutor(
            folder=logs,
            cluster=cluster,
            **{f"{cluster}_max_num_timeout": self._settings.max_requeues},
        )
        executor.update_parameters(**self._settings.of(job))
        submitted = executor.submit(RunJob(str(out), job.name))
        note.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(note, {"key": job.key, "cluster": cluster, "id": submitted.job_id})
        return SlurmJob(out, job, submitted)

    def _submitted(self, note: Path, logs: Path, job: Job) -> SlurmJob | None:
        try:
            found = json.loads(note.read_bytes())
            if (found["key"], found["cluster"]) != (job.key, self._settings.cluster):
                return None
            number = str(found["id"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        kinds = {"slurm": self._submitit.SlurmJob, "local": self._submitit.LocalJob}
        submitted = kinds[self._settings.cluster](folder=logs, job_id=number)
        if submitted.done(force_check=True):
            return None
        return SlurmJob(note.parent.parent.parent, job, submitted)


class SlurmJob:
    """A job in SLURM's queue."""

    def __init__(self, out: Path, job: Job, submitted: Any) -> None:
        self._out, self._job, self._submitted = out, job, submitted

    def running(self) -> bool:
        """Whether it waits in the queue or is at work."""
        if not self._submitted.done():
            return True
        state = read_state(self._out, self._job)
        if state.status in ("waiting", "running"):  # SLURM ended it before it could say so
            lost = JobState("failed", self._job.key, max(1, state.attempts), None, state.started)
            write_state(self._out, self._job, lost)
        return False

    def stop(self) -> None:
        """Cancels it; what runs gets SIGTERM and saves."""
        self._submitted.cancel(check=False)

    kill = stop


class RunJob:
    """What submitit pickles and calls on the cluster, once in each process."""

    def __init__(self, out: str, job: str) -> None:
        self.out, self.job = out, job
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Runs the job; its exit code."""
        # SLURM signals every process of a job when its time is nearly up. This one answers, in
        # `checkpoint`; in those below it would be the end.
        before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        process = self._begin()
        signal.signal(signal.SIGUSR2, before)
        return process.wait()

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flan.experiments.job", self.out, self.job]
        command += ["--stop_with_input"]
        if (count := int(os.environ.get("SLURM_NTASKS", "1"))) > 1:
            rank = os.environ["SLURM_PROCID"]
            command += ["--num_processes", str(count), "--process_id", rank]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        return self._process

    def checkpoint(self) -> Any:
        """Called before the time limit or a preemption: saves, and asks to be queued again."""
        import submitit

        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        return submitit.helpers.DelayedSubmission(RunJob(self.out, self.job))

    def __getstate__(self) -> dict[str, Any]:
        return {"out": self.out, "job": self.job, "_process": None}
