"""`flan launch` and `flan status`: what they would run, and mistakes. Running is tested in tests/experiments."""

import shlex

import pytest
import yaml

from flan.cli.main import main
from flan.data.names import parse_task_name
from flan.data.training_record import (
    ReadDataset,
    ReadRun,
    ReadSource,
    TrainingRecord,
    TrainingRows,
    write_record,
)
from flan.experiments.graph import Job, trains_on_evaluated
from flan.experiments.runs import RunSpec
from flan.experiments.state import Record
from flan.experiments.state import read_record as read_experiment
from flan.experiments.state import write_record as write_experiment


@pytest.fixture
def launch(tmp_path):
    def call(*flags):
        return main(["launch", *flags, "--out", str(tmp_path / "out")])

    return call


def commands(capsys):
    return [shlex.split(line, comments=True) for line in capsys.readouterr().out.splitlines()]


BASE = "--gin.INITIAL_CHECKPOINT_PATH=/models/base"


def test_a_dry_run_prints_every_command_and_writes_nothing(launch, tmp_path, capsys):
    assert (
        launch("leave_one_out", BASE, "--gin.TRAIN_STEPS=7", "--data_dir=/data", "--dry_run") == 0
    )
    found = commands(capsys)
    assert [c[1] for c in found[:2]] == ["prepare", "eval"]
    assert [c[1] for c in found[2:-1]] == ["train", "eval"] * 10
    assert found[-1][1] == "report"
    train = found[2]
    assert "--gin_file=configs/experiments/leave_one_out.gin" in train
    assert "--gin.TRAIN_STEPS=7" in train
    assert "--gin.MIXTURE_OR_TASK_NAME=flan_loo_nli" in train
    assert train[-1] == str(tmp_path / "out" / "runs" / "nli")
    assert found[3][2] == train[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("num_clusters", 7),
        ("instructions", 12),
        ("few_shot", 8),
        ("datasets_templates", 12),
        ("untuned", 0),
        ("prompt_tuning", 6 + 8 * 2 * 2),
        ("full_vs_lora", 6),
    ],
)
def test_every_experiment_has_its_gin_file(launch, capsys, name, runs):
    assert launch(name, BASE, "--dry_run") == 0
    trained = [c for c in commands(capsys) if c[1] == "train"]
    assert len(trained) == runs
    for command in trained:
        (mixture,) = [a for a in command if a.startswith("--gin.MIXTURE_OR_TASK_NAME=")]
        parse_task_name(mixture.partition("=")[2])


def test_model_scale_needs_its_models(launch, capsys):
    assert launch("model_scale", "--dry_run") == 2
    assert "ModelScale.models must be set" in capsys.readouterr().err
    models = "{'configs/models/tiny.gin': '/m/tiny'}"
    assert launch("model_scale", f"--gin.ModelScale.models={models}", "--dry_run") == 0
    found = commands(capsys)
    assert [c[1] for c in found] == ["prepare", "eval", "train", "eval", "report"]
    assert "--gin.INITIAL_CHECKPOINT_PATH=/m/tiny" in found[2]


def test_a_prompt_waits_for_the_model_that_it_is_tuned_on(launch, tmp_path, capsys):
    tuned = str(tmp_path / "out" / "runs" / "tuned-nli")
    assert launch("prompt_tuning", BASE, "--only=rte-on-tuned-32", "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    trains = [line for line in lines if line.startswith("flan train")]
    assert [line.rpartition("# after ")[2] for line in trains] == ["prepare", "tuned-nli/train"]
    prompt = shlex.split(trains[1], comments=True)
    starts = [a for a in prompt if a.startswith("--gin.INITIAL_CHECKPOINT_PATH=")]
    assert starts[-1] == f"--gin.INITIAL_CHECKPOINT_PATH={tuned}"
    assert "--gin_file=configs/peft/prompt.gin" in prompt


def test_only_some_runs(launch, capsys):
    assert launch("leave_one_out", BASE, "--only=nli,sentiment", "--dry_run") == 0
    assert [c[1] for c in commands(capsys)] == ["prepare", "eval", *["train", "eval"] * 2, "report"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["leave_one_in"], "Did you mean 'leave_one_out'"),
        (["leave_one_out"], "INITIAL_CHECKPOINT_PATH"),
        (["leave_one_out", BASE, "--only=nly"], "Did you mean 'nli'"),
        (["leave_one_out", BASE, "--jobs=0"], "--jobs"),
        (["leave_one_out", BASE, "--gin.LeaveOneOut.cluster=['nli']"], "clusters"),
        (["leave_one_out", BASE, "--gin.LeaveOneOut.clusters=['nly']"], "Did you mean 'nli'"),
        (["leave_one_out", BASE, "--gin_file=none.gin"], "unknown gin file"),
    ],
)
def test_mistakes_end_before_anything_is_written(launch, tmp_path, capsys, flags, message):
    assert launch(*flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_status_of_nothing(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    assert "flan launch" in capsys.readouterr().err


def test_a_log_moves_no_cursor(tmp_path, capsys):
    write_experiment(tmp_path, Record("untuned", (), (Job("prepare", ("prepare",)),)))
    (tmp_path / "jobs" / "prepare").mkdir(parents=True)
    (tmp_path / "jobs" / "prepare" / "log.txt").write_bytes(b"\x1b[31m red\x1b]0;title\x07\n")
    assert main(["status", str(tmp_path), "--log", "prepare"]) == 0
    assert capsys.readouterr().out == "\\u001b[31m red\\u001b]0;title\\u0007\n"


def test_a_start_that_was_trained_on_what_is_scored_is_refused_before_training(
    launch, tmp_path, capsys
):
    source = ReadSource("sst2", "glue/sst2:2.0.0", "train[0:9]", 9, 0, 8, "ab", "cd")
    read = ReadDataset("sst2", "sentiment", (), (source,))
    run = ReadRun("text", "sst2", "text", 9, "ef", (read,))
    base = tmp_path / "base"
    write_record(base, TrainingRecord((run,)), TrainingRows.of([]))
    start = f"--gin.INITIAL_CHECKPOINT_PATH={base}"
    assert launch("leave_one_out", start, "--only=nli", "--dry_run") == 2
    assert "sst2 (as raw text" in capsys.readouterr().err
    assert launch("leave_one_out", start, "--gin.EVAL_SEEN=mark", "--dry_run") == 0
    for command in commands(capsys):
        assert (command[1] == "eval") == ("--seen" in command)
    only = "--gin.LeaveOneOut.clusters=['nli']"
    assert launch("leave_one_out", start, only, "--dry_run") == 0
    assert "--seen" not in capsys.readouterr().out


def test_runs_that_are_scored_on_what_they_train_on_are_marked():
    tuned = {"mixture": "flan_rte", "evaluate": ("rte",)}
    assert trains_on_evaluated(RunSpec(name="a", **tuned))
    assert not trains_on_evaluated(RunSpec(name="a", mixture="flan_sst2", evaluate=("rte",)))
    assert not trains_on_evaluated(RunSpec(name="a", mixture=None, evaluate=("rte",)))


def test_where_jobs_run_does_not_change_them(launch, tmp_path, capsys):
    assert launch("leave_one_out", BASE, "--only=nli", "--dry_run") == 0
    plain = commands(capsys)
    file = tmp_path / "cluster.gin"
    file.write_text("SlurmSettings.account = 'nlp'\n")
    slurm = ("--backend=slurm", f"--backend_file={file}", "--gin.SlurmSettings.partition=gpu")
    assert launch("leave_one_out", BASE, "--only=nli", "--dry_run", *slurm) == 0
    text = capsys.readouterr().out
    assert [shlex.split(line, comments=True) for line in text.splitlines()] == plain
    (train,) = [line for line in text.splitlines() if line.startswith("flan train")]
    assert "partition=gpu account=nlp" in train
    assert not (tmp_path / "out").exists()


def test_files_for_machines_elsewhere(launch, tmp_path, capsys):
    flags = ("--backend=jobset", "--gin.JobSetSettings.image=flan:1", "--data_dir=/flan/tfds")
    assert launch("leave_one_out", BASE, "--only=nli", *flags) == 2
    assert "volume_claim" in capsys.readouterr().err
    flags = (*flags, "--gin.JobSetSettings.volume_claim=shared")
    assert launch("leave_one_out", BASE, "--only=nli", "--dry_run", *flags) == 0
    shown = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert launch("leave_one_out", BASE, "--only=nli", *flags) == 0
    folder = tmp_path / "out" / "jobset"
    assert f"to submit: sh {folder}/submit.sh" in capsys.readouterr().out
    for path in folder.iterdir():
        assert path.read_text() in shown
    (tmp_path / "experiment.json").write_text(
        yaml.safe_load((folder / "record.yaml").read_text())["data"]["experiment.json"]
    )
    # All runs are on record, as what was done of the others is; the chosen are submitted.
    assert len(read_experiment(tmp_path).runs) == 11
    assert {p.stem for p in folder.glob("*.yaml")} == {
        *("record", "flan-out-prepare", "flan-out-base", "flan-out-nli", "flan-out-report"),
    }
    train = next(j for j in read_experiment(tmp_path).jobs if j.name == "nli/train").arguments
    assert train[-1] == "/flan/out/runs/nli"
    assert train[train.index("--cache_dir") + 1] == "/flan/cache"
    assert not any("JobSetSettings" in a for a in train)
