"""Launching again: some runs alone, other settings, two launches at once."""

import pytest
from cheap_jobs import InstantBackend, state_of

from flan.cli import launch as command
from flan.cli.main import main
from flan.experiments import job, schedule
from flan.experiments.state import is_outdated, launching, read_record
from flan.reports.experiment import outdated_runs


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """`launch(*flags) -> names of the jobs that it ran`, all of which succeed."""
    monkeypatch.setattr(schedule.time, "sleep", lambda seconds: None)

    def run(self, stop_with_input):
        self.code = 0
        return 0

    monkeypatch.setattr(job._Command, "run", run)

    def call(*flags):
        backend = InstantBackend()
        monkeypatch.setattr(command, "_backend", lambda settings: backend)
        base = "--gin.INITIAL_CHECKPOINT_PATH=/models/base"
        assert main(["launch", *flags, base, "--out", str(tmp_path / "out")]) == 0
        return backend.started

    return call


def test_some_runs_alone_and_then_all(launch, tmp_path):
    out = tmp_path / "out"
    few = ("num_clusters", "--only=clusters-1")
    chosen = ["prepare", "base/eval", "clusters-1/train", "clusters-1/eval", "report"]
    assert launch(*few) == chosen
    assert launch(*few) == []
    record = read_record(out)
    assert [run.name for run in record.runs] == ["base", *(f"clusters-{n}" for n in range(1, 8))]
    assert len(record.jobs[-1].needs) == 8
    assert state_of(out, "report").status == "done"
    # All of them need more rows; what was trained and scored is kept.
    rest = launch("num_clusters")
    assert rest[0] == "prepare"
    assert not set(rest) & set(chosen[1:-1])
    assert len(rest) == 2 + 2 * 6


def test_what_depends_on_a_changed_job_runs_again(launch, tmp_path):
    flags = ("full_vs_lora", "--gin.FullVsLora.clusters=['nli']")
    assert len(launch(*flags)) == 7
    lora = [f"nli-lora-8/{kind}" for kind in ("train", "eval")]
    changed = (*flags, "--gin.FullVsLora.lora_learning_rate=1e-2")
    assert launch(*changed) == [*lora, "report"]
    assert launch(*changed) == []


def test_prompts_are_tuned_again_on_a_changed_model(launch):
    flags = ("prompt_tuning", "--gin.PromptTuning.tasks=['rte']", "--gin.PromptTuning.examples=[8]")
    launch(*flags)
    again = launch(*flags, "--gin.LEARNING_RATE=1e-4")
    assert "rte-on-tuned-8/eval" in again


def test_scores_of_other_settings_are_not_reported_as_these(launch, tmp_path):
    out = tmp_path / "out"
    flags = ("full_vs_lora", "--gin.FullVsLora.clusters=['nli']")
    launch(*flags)
    assert outdated_runs(out, read_record(out)) == []
    # Now the record is of other settings, and one run alone has been done with them.
    launch(*flags, "--gin.TRAIN_STEPS=7", "--only=nli-full")
    assert outdated_runs(out, read_record(out)) == ["nli-lora-8"]
    evaluated = {j.name: j for j in read_record(out).jobs if j.name.endswith("/eval")}
    assert not is_outdated(out, evaluated["base/eval"])


def test_one_launch_at_a_time_works_in_a_folder(launch, tmp_path, capsys):
    out = tmp_path / "out"
    launch("untuned")
    before = (out / "experiment.json").read_bytes()
    with launching(out):
        assert (
            main(["launch", "untuned", "--gin.INITIAL_CHECKPOINT_PATH=/b", "--out", str(out)]) == 2
        )
        assert f"another `flan launch` is at work in {out}" in capsys.readouterr().err
        assert (out / "experiment.json").read_bytes() == before
        assert main(["status", str(out)]) == 0
    launch("untuned")
