"""What SkyPilot and Kubernetes are given: every job once, in order, and shell that works."""

import dataclasses
import json
import os
import re
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flan.experiments.backends import files
from flan.experiments.backends.generate import generate
from flan.experiments.backends.jobset import JobSetSettings
from flan.experiments.backends.skypilot import SkyPilotSettings
from flan.experiments.backends.units import unit_name, units, waves
from flan.experiments.graph import Job
from flan.experiments.runs import RunSpec
from flan.experiments.state import Record, read_record

JOBS = (
    Job("prepare", ("prepare",)),
    Job("base/eval", ("eval", "/m/base"), ("prepare",)),
    Job("a/train", ("train", "a"), ("prepare",)),
    Job("a/eval", ("eval", "a"), ("a/train",)),
    Job("a_2/train", ("train", "b"), ("a/train",)),
    Job("a_2/eval", ("eval", "b"), ("a_2/train",)),
    Job("report", ("report",), ("base/eval", "a/eval", "a_2/eval"), tolerant=True),
)
RUN = RunSpec(name="a", mixture="flan_sst2", evaluate=("nli",), held_out=("nli",))
RECORD = Record("leave_one_out", (RUN,), JOBS)
SKY = SkyPilotSettings(storage="gs://bucket")
K8S = JobSetSettings(image="registry/flan:1", volume_claim="claim")
TPUS = {"resource": "google.com/tpu", "per_host": 4}


def made(settings):
    return generate(RECORD, RECORD.jobs, settings, "loo", "/here/out")


def documents(found):
    return {n: yaml.safe_load(text) for n, text in found.items() if n.endswith(".yaml")}


def scripts(found):
    """File -> the shell that its machines run."""
    return {
        name: value["run"] if "run" in value else container(value)["command"][2]
        for name, value in documents(found).items()
        if value.get("kind") != "ConfigMap"
    }


def container(jobset):
    (replicated,) = jobset["spec"]["replicatedJobs"]
    (one,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    return one


def call(script, tmp_path, **variables):
    """The arguments that a script gives `python3`."""
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables}
    done = subprocess.run(["sh", "-ec", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("settings", [SKY, K8S], ids=["skypilot", "jobset"])
def test_every_job_stands_in_one_file_and_after_what_it_needs(settings, tmp_path):
    found = made(settings)
    # The words between the experiment's folder and the flags are the jobs.
    of = {
        name: call(script, tmp_path, SKYPILOT_NODE_IPS="h", SKYPILOT_NODE_RANK="0")
        for name, script in scripts(found).items()
    }
    jobs = {name: words[3 : words.index("--record")] for name, words in of.items()}
    assert all(words[2] == "/flan/loo" for words in of.values())
    assert sorted(j for names in jobs.values() for j in names) == sorted(j.name for j in JOBS)
    assert ["a/train", "a/eval"] in jobs.values()
    submitted = re.findall(
        r"(?:apply -f |out/skypilot/|/here/out/)([\w-]+\.yaml)", found["submit.sh"]
    )
    position = {job: submitted.index(name) for name, names in jobs.items() for job in names}
    for job in JOBS:
        for need in job.needs:
            assert position[need] <= position[job.name]
    assert subprocess.run(["sh", "-n"], input=found["submit.sh"].encode()).returncode == 0


def test_the_record_travels_with_the_files(tmp_path):
    (tmp_path / "experiment.json").write_text(made(SKY)["experiment.json"])
    assert read_record(tmp_path) == RECORD
    config = documents(made(K8S))["record.yaml"]
    (tmp_path / "experiment.json").write_text(config["data"]["experiment.json"])
    assert read_record(tmp_path) == RECORD
    task = documents(made(SKY))["flan-loo-a.yaml"]
    assert task["file_mounts"]["/tmp/flan-experiment.json"] == "/here/out/experiment.json"
    (volume,) = [
        v
        for v in documents(made(K8S))["flan-loo-a.yaml"]["spec"]["replicatedJobs"][0]["template"][
            "spec"
        ]["template"]["spec"]["volumes"]
        if "configMap" in v
    ]
    assert volume["configMap"]["name"] == config["metadata"]["name"]


def test_skypilot_gets_accelerators_where_there_is_use_for_them():
    settings = dataclasses.replace(
        SKY, accelerators="tpu-v5e-8", runtime_version="v2-alpha-tpuv5-lite", infra="gcp"
    )
    found = documents(made(settings))
    train = found["flan-loo-a.yaml"]
    assert train["resources"] == {
        "infra": "gcp",
        "accelerators": "tpu-v5e-8",
        "accelerator_args": {"runtime_version": "v2-alpha-tpuv5-lite"},
        "use_spot": True,
    }
    assert "jax[tpu]" in train["setup"]
    assert train["file_mounts"]["/flan"] == {"source": "gs://bucket", "mode": "MOUNT"}
    prepare = found["flan-loo-prepare.yaml"]
    assert "accelerators" not in prepare["resources"]
    assert prepare["resources"]["cpus"] == "8+"


def test_machines_that_train_together_know_their_place(tmp_path):
    sky = made(dataclasses.replace(SKY, nodes=3))
    train = documents(sky)["flan-loo-a-train.yaml"]
    assert train["num_nodes"] == 3
    assert documents(sky)["flan-loo-a-eval.yaml"]["num_nodes"] == 1
    words = call(
        train["run"],
        tmp_path,
        SKYPILOT_NODE_IPS="10.0.0.7\n10.0.0.8\n10.0.0.9",
        SKYPILOT_NODE_RANK="2",
    )
    assert words[-6:] == [
        *("--num_processes", "3", "--process_id", "2"),
        *("--coordinator_address", "10.0.0.7:8476"),
    ]
    k8s = documents(made(dataclasses.replace(K8S, hosts=4)))
    (hosts,) = k8s["flan-loo-a-train.yaml"]["spec"]["replicatedJobs"]
    assert hosts["template"]["spec"]["parallelism"] == hosts["template"]["spec"]["completions"] == 4
    words = call(
        container(k8s["flan-loo-a-train.yaml"])["command"][2],
        tmp_path,
        JOB_INDEX="0",
        JOB_COMPLETION_INDEX="3",
    )
    assert words[-6:] == [
        *("--num_processes", "4", "--process_id", "3"),
        *("--coordinator_address", "flan-loo-a-train-hosts-0-0.flan-loo-a-train:8476"),
    ]
    assert "--num_processes" not in container(k8s["flan-loo-a-eval.yaml"])["command"][2]


def test_slices_of_tpus_find_each_other_by_themselves(tmp_path):
    settings = dataclasses.replace(
        K8S,
        **TPUS,
        hosts=4,
        slices=2,
        node_selector={"cloud.google.com/gke-tpu-topology": "4x4"},
        eval_node_selector={"cloud.google.com/gke-tpu-topology": "2x2"},
    )
    found = documents(made(settings))
    train = found["flan-loo-a-train.yaml"]
    words = call(container(train)["command"][2], tmp_path, JOB_INDEX="1", JOB_COMPLETION_INDEX="2")
    assert words[-4:] == ["--num_processes", "8", "--process_id", "6"]
    assert container(train)["resources"]["limits"] == {"google.com/tpu": 4}
    assert "exclusive-topology" in json.dumps(train["metadata"])
    for name, topology in (("a-train", "4x4"), ("a-eval", "2x2")):
        pod = found[f"flan-loo-{name}.yaml"]["spec"]["replicatedJobs"][0]["template"]["spec"]
        assert list(pod["template"]["spec"]["nodeSelector"].values()) == [topology]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SkyPilotSettings(storage="/tmp/x"), "must be a bucket"),
        (lambda: dataclasses.replace(SKY, accelerators="tpu-v4-32"), "several hosts"),
        (lambda: dataclasses.replace(SKY, accelerators="tpu-v4-8", nodes=2), "name a larger slice"),
        (lambda: dataclasses.replace(K8S, slices=2), "has no slices"),
        (lambda: dataclasses.replace(K8S, **TPUS, hosts=2), "eval_node_selector must be set"),
        (lambda: dataclasses.replace(K8S, hosts=0), "hosts must be at least 1, got 0"),
    ],
)
def test_what_cannot_run_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_record_too_large_for_kubernetes(monkeypatch):
    many = tuple(Job(f"r{i}/eval", ("eval", "x" * 1000)) for i in range(1000))
    with pytest.raises(ValueError, match="a ConfigMap holds 1,000,000"):
        generate(Record("few_shot", (RUN,), many), many, K8S, "loo", "/here")


@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=8, unique=True))
def test_names_are_short_and_safe(names):
    for name in names:
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", unit_name("flan-x", name))


def test_runs_of_similar_names_stay_apart():
    jobs = [Job(f"{name}/eval", ()) for name in ("a_b", "a-b", "a.b")]
    assert len({unit.name for unit in units(jobs, "flan-x", True)}) == 3


def test_waves_begin_when_what_they_need_has_ended():
    found = units(JOBS, "x", together=True)
    assert [[u.name for u in wave] for wave in waves(found)] == [
        ["x-prepare"],
        ["x-base", "x-a"],
        ["x-a-2"],
        ["x-report"],
    ]


def test_kubernetes_puts_no_variables_into_names():
    found = generate(RECORD, JOBS, K8S, "a$(HOME)", "/here")
    script = container(documents(found)["flan-a-home-a.yaml"])["command"][2]
    assert "'/flan/a$$(HOME)'" in script
    # To kubectl, below 0 is a week.
    assert found["submit.sh"].count("--timeout=8760h") == len(waves(units(JOBS, "x", True)))


def test_files_replace_those_of_an_earlier_launch(tmp_path):
    files.write(tmp_path / "k8s", {"old.yaml": "a: 1\n"})
    files.write(tmp_path / "k8s", {"submit.sh": "#!/bin/sh\n"})
    assert [p.name for p in (tmp_path / "k8s").iterdir()] == ["submit.sh"]
    assert os.access(tmp_path / "k8s" / "submit.sh", os.X_OK)


def test_skypilot_itself_reads_the_tasks():
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed")
    for value in documents(made(dataclasses.replace(SKY, accelerators="tpu-v5e-8"))).values():
        value.pop("workdir")  # looked for on disk
        value["file_mounts"] = {}
        task = sky.Task.from_yaml_config(value)
        assert task.num_nodes == 1
