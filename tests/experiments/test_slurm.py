"""Jobs through submitit: its local executor, and SLURM's commands played by a script."""

import json
import os
import sys

import pytest
from cheap_jobs import BAD, GOOD, job_named, state_of, wait_for

from flan.experiments import schedule
from flan.experiments.backends.slurm import RunJob, SlurmBackend, SlurmSettings
from flan.experiments.graph import Job

pytest.importorskip("submitit", reason="submitit is not installed")

# Stands for sbatch, srun, sacct and scancel: one job a submission, begun at once.
SLURM = """#!{python}
import os, pathlib, signal, subprocess, sys, time
queue, tool, given = pathlib.Path({queue!r}), pathlib.Path(sys.argv[0]).name, sys.argv[1:]
if tool == "sbatch":
    number = str(time.time_ns())  # submitit remembers the ids of earlier tests
    script = queue / (number + ".sh")
    script.write_text(pathlib.Path(given[0]).read_text())
    env = dict(os.environ, SLURM_JOB_ID=number, SLURM_JOBID=number, SLURM_NTASKS="1")
    env.update(SLURM_PROCID="0", SLURM_NODEID="0", SLURM_LOCALID="0", SLURM_NNODES="1")
    job = subprocess.Popen(["bash", str(script)], env=env, start_new_session=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (queue / (number + ".pid")).write_text(str(job.pid))
    print("Submitted batch job", number)
elif tool == "srun":
    while given and given[0].startswith("-"):
        flag = given.pop(0)
        if "=" not in flag and given and flag in ("--output", "--error"):
            given.pop(0)
    os.execvp(given[0], given)
elif tool == "sacct":
    print("JobID|State|NodeList")
    for file in sorted(queue.glob("*.pid")):
        stat = pathlib.Path("/proc", file.read_text(), "stat")
        there = stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
        print(file.stem, "RUNNING" if there else "FAILED", "node1", sep="|")
elif tool == "scancel":
    os.killpg(int((queue / (given[-1] + ".pid")).read_text()), signal.SIGTERM)
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The folder where submitted scripts lie."""
    tools, queue = tmp_path / "bin", tmp_path / "queue"
    tools.mkdir()
    queue.mkdir()
    (tools / "sbatch").write_text(SLURM.format(python=sys.executable, queue=str(queue)))
    (tools / "sbatch").chmod(0o755)
    for name in ("srun", "sacct", "scancel"):
        (tools / name).symlink_to(tools / "sbatch")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return queue


def test_a_graph_through_the_local_executor(out):
    settings = SlurmSettings(cluster="local", gpus_per_node=0, timeout_min=60)
    outcome = schedule.run(out, [GOOD, BAD], SlurmBackend(settings), say=lambda line: None)
    assert outcome == schedule.Outcome(("prepare",), ("a/train",), ())
    assert state_of(out, "prepare").status == "done"
    assert state_of(out, "a/train").exit_code == 2


def test_a_graph_through_slurms_commands(out, slurm):
    settings = SlurmSettings(
        partition="gpu",
        cpu_partition="cpu",
        account="nlp",
        gpus_per_node=4,
        mem_gb=64,
        timeout_min=90,
        setup=("export FLAN_SETUP=1",),
        additional={"licenses": "a:1"},
    )
    outcome = schedule.run(out, [GOOD, BAD], SlurmBackend(settings), say=lambda line: None)
    assert outcome == schedule.Outcome(("prepare",), ("a/train",), ())
    prepare, train = (path.read_text() for path in sorted(slurm.glob("*.sh")))
    for line in (
        *("--partition=gpu", "--gpus-per-node=4", "--account=nlp", "--mem=64GB", "--time=90"),
        *("--signal=USR2@300", "--job-name=flan-a-train", "--licenses=a:1", "--nodes=1"),
    ):
        assert f"#SBATCH {line}\n" in train
    assert "export FLAN_SETUP=1" in train
    assert "#SBATCH --partition=cpu\n" in prepare
    assert "gpus" not in prepare


def test_a_killed_launcher_finds_its_job_in_the_queue(out, slurm):
    job = job_named(out, "a/eval")
    SlurmBackend(SlurmSettings()).start(out, job)
    wait_for(lambda: state_of(out, "a/eval").status == "running")
    again = SlurmBackend(SlurmSettings()).start(out, job)
    assert len(list(slurm.glob("*.sh"))) == 1
    assert again.running()
    again.stop()
    wait_for(lambda: state_of(out, "a/eval").status == "stopped")
    wait_for(
        lambda: (
            not SlurmBackend(SlurmSettings())._submitted(
                out / "jobs" / "a.eval" / "submitted.json", out / "submitit" / "a.eval", job
            )
        )
    )


def test_a_job_that_slurm_ended_counts_as_failed(out, slurm):
    job = job_named(out, "prepare")
    backend = SlurmBackend(SlurmSettings())
    handle = backend.start(out, job)
    wait_for(lambda: not handle.running())
    (out / "jobs" / "prepare" / "state.json").unlink()
    assert not handle.running()
    assert state_of(out, "prepare").status == "failed"


def test_a_job_near_its_limit_saves_and_is_queued_again(out):
    call = RunJob(str(out), "a/eval")
    process = call._begin()
    wait_for(lambda: state_of(out, "a/eval").status == "running")
    again = call.checkpoint()
    assert process.returncode == 75
    assert state_of(out, "a/eval").status == "stopped"
    assert (again.function.out, again.function.job) == (str(out), "a/eval")


@pytest.mark.parametrize(
    ("settings", "tasks"),
    [
        (SlurmSettings(nodes=2, gpus_per_node=8), 8),
        (SlurmSettings(nodes=1, gpus_per_node=8), 1),
        (SlurmSettings(nodes=2, gpus_per_node=0), 1),
    ],
)
def test_several_nodes_get_a_process_a_gpu(settings, tasks):
    train, evaluate = (settings.of(Job(f"a/{kind}", ())) for kind in ("train", "eval"))
    assert (train["nodes"], train["tasks_per_node"]) == (settings.nodes, tasks)
    assert (evaluate["nodes"], evaluate["tasks_per_node"]) == (1, 1)


def test_what_slurm_cannot_do_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="must be slurm or local, got 'pbs'"):
        SlurmSettings(cluster="pbs")
    with pytest.raises(ValueError, match="must be below timeout_min"):
        SlurmSettings(timeout_min=5)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="no `srun`"):
        SlurmBackend(SlurmSettings())
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"pip install 'flan-jax\[slurm\]'"):
        SlurmBackend(SlurmSettings())


def test_a_note_that_is_damaged_is_not_believed(out, slurm):
    job = job_named(out, "prepare")
    note = out / "jobs" / "prepare" / "submitted.json"
    note.parent.mkdir(parents=True)
    for text in ("{", "[]", json.dumps({"key": job.key, "cluster": "slurm"})):
        note.write_text(text)
        backend = SlurmBackend(SlurmSettings())
        assert backend._submitted(note, out / "submitit" / "prepare", job) is None
