"""The scheduler on a backend without processes."""

import dataclasses

import pytest

from flan.experiments import schedule
from flan.experiments.graph import Job
from flan.experiments.schedule import run
from flan.experiments.state import JobState, read_state, write_state

GRAPH = [
    Job("prepare", ("prepare",)),
    Job("a/train", ("a", "train"), ("prepare",)),
    Job("a/eval", ("a", "eval"), ("a/train",)),
    Job("b/train", ("b", "train"), ("prepare",)),
    Job("b/eval", ("b", "eval"), ("b/train",)),
    Job("report", ("report",), ("a/eval", "b/eval"), tolerant=True),
]


@dataclasses.dataclass
class FakeHandle:
    backend: "FakeBackend"
    out: object
    job: Job
    left: int

    def running(self):
        if self.left == 0:
            return False
        self.left -= 1
        if self.left == 0:
            codes = self.backend.codes.get(self.job.name, [0])
            code = codes.pop(0) if len(codes) > 1 else codes[0]
            status = {0: "done", 75: "stopped"}.get(code, "failed")
            attempts = read_state(self.out, self.job).attempts + 1
            write_state(self.out, self.job, JobState(status, self.job.key, attempts, code))
        return self.left > 0

    def stop(self):
        self.left = 0
        write_state(self.out, self.job, JobState("stopped", self.job.key, 1, 75))

    def kill(self):
        self.left = 0


class FakeBackend:
    """Jobs take two looks; `codes` are the exit codes of their attempts, the last for ever."""

    def __init__(self, codes=None):
        self.codes = {k: list(v) for k, v in (codes or {}).items()}
        self.started = []
        self.most = 0
        self.handles = []

    def start(self, out, job):
        for need in job.needs:
            state = next(read_state(out, j) for j in GRAPH if j.name == need)
            assert state.status == "done" or job.tolerant
        self.started.append(job.name)
        self.handles = [h for h in self.handles if h.left] + [FakeHandle(self, out, job, 2)]
        self.most = max(self.most, len(self.handles))
        return self.handles[-1]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(schedule.time, "sleep", lambda s: None)


def test_jobs_run_after_what_they_need(tmp_path):
    backend = FakeBackend()
    outcome = run(tmp_path, GRAPH, backend, say=lambda line: None)
    assert outcome == schedule.Outcome(tuple(j.name for j in GRAPH), (), ())
    assert sorted(backend.started) == sorted(j.name for j in GRAPH)
    assert backend.most == 1
    again = FakeBackend()
    run(tmp_path, GRAPH, again, say=lambda line: None)
    assert again.started == []


def test_several_at_once(tmp_path):
    backend = FakeBackend()
    run(tmp_path, GRAPH, backend, workers=2, say=lambda line: None)
    assert backend.most == 2


def test_failures_are_tried_again_within_the_limit(tmp_path):
    backend = FakeBackend({"a/train": [1, 0], "b/train": [1]})
    lines = []
    outcome = run(tmp_path, GRAPH, backend, retries=1, say=lines.append)
    assert backend.started.count("a/train") == backend.started.count("b/train") == 2
    assert outcome.failed == ("b/train",)
    assert outcome.blocked == ("b/eval",)
    # The report shows what there is.
    assert "report" in outcome.done
    assert any("b/train FAILED" in line for line in lines)
    # The next launch tries what failed, and reports once more.
    later = FakeBackend()
    assert not run(tmp_path, GRAPH, later, say=lines.append).failed
    assert later.started == ["b/train", "b/eval", "report"]
    last = FakeBackend()
    run(tmp_path, GRAPH, last, say=lines.append)
    assert last.started == []


def test_a_report_is_made_anew_when_something_it_shows_ended_after_it_began(tmp_path):
    for number, job in enumerate(GRAPH):
        write_state(tmp_path, job, JobState("done", job.key, 1, 0, number, number + 0.5))
    backend = FakeBackend()
    run(tmp_path, GRAPH, backend, say=lambda line: None)
    assert backend.started == []
    # A run that the report knew nothing of: `--only` had left it out.
    job = GRAPH[4]
    write_state(tmp_path, job, JobState("done", job.key, 1, 0, 20, 21))
    run(tmp_path, GRAPH, backend, say=lambda line: None)
    assert backend.started == ["report"]


def test_a_mistake_in_the_settings_is_final(tmp_path):
    backend = FakeBackend({"prepare": [2]})
    outcome = run(tmp_path, GRAPH, backend, retries=5, say=lambda line: None)
    assert backend.started == ["prepare"]
    assert outcome.failed == ("prepare",)
    assert set(outcome.blocked) == {j.name for j in GRAPH} - {"prepare"}


def test_a_changed_command_is_run_again(tmp_path):
    run(tmp_path, GRAPH, FakeBackend(), say=lambda line: None)
    changed = [
        dataclasses.replace(j, arguments=("new",)) if j.name == "b/eval" else j for j in GRAPH
    ]
    backend = FakeBackend()
    run(tmp_path, changed, backend, say=lambda line: None)
    assert backend.started == ["b/eval", "report"]


def test_ctrl_c_stops_what_runs_and_keeps_the_rest(tmp_path, monkeypatch):
    backend = FakeBackend()
    looks = []

    def interrupt(seconds):
        looks.append(seconds)
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(schedule.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, GRAPH, backend, say=lambda line: None)
    states = [read_state(tmp_path, job).status for job in GRAPH]
    assert states.count("done") == 2
    assert states.count("stopped") == 1
    monkeypatch.setattr(schedule.time, "sleep", lambda s: None)
    later = FakeBackend()
    run(tmp_path, GRAPH, later, say=lambda line: None)
    assert len(later.started) == 4


def test_a_job_that_the_cluster_stopped_goes_on_however_often(tmp_path):
    backend = FakeBackend({"a/train": [75, 75, 75, 0]})
    outcome = run(tmp_path, GRAPH, backend, retries=0, say=lambda line: None)
    assert not outcome.failed
    assert backend.started.count("a/train") == 4


class Lost(FakeHandle):
    def running(self):
        return False  # and nothing was written


@pytest.mark.parametrize("status", ["waiting", "stopped", "done"])
def test_a_job_that_dies_before_it_says_anything_has_failed(tmp_path, monkeypatch, status):
    """Whatever an earlier attempt has said."""
    for number, job in enumerate(GRAPH[:-1]):
        write_state(tmp_path, job, JobState("done", job.key, 1, 0, number, number + 0.5))
    report = GRAPH[-1]
    if status != "waiting":
        write_state(tmp_path, report, JobState(status, report.key, 1, 75, 0.0, 0.5))
    started = []
    backend = FakeBackend()
    monkeypatch.setattr(
        backend, "start", lambda out, job: started.append(job) or Lost(backend, out, job, 0)
    )
    outcome = run(tmp_path, GRAPH, backend, retries=1, say=lambda line: None)
    assert outcome.failed == ("report",)
    assert len(started) == 2


def test_a_job_that_is_stopped_at_once_for_ever_has_failed(tmp_path):
    backend = FakeBackend({"a/train": [75]})
    outcome = run(tmp_path, GRAPH, backend, retries=0, say=lambda line: None)
    assert outcome.failed == ("a/train",)
    assert backend.started.count("a/train") == 20


def test_a_job_that_another_launch_finished_meanwhile_is_done(tmp_path, monkeypatch):
    prepare = GRAPH[0]
    backend = FakeBackend()

    def start(out, job):
        return Lost(backend, out, job, 0)

    monkeypatch.setattr(backend, "start", start)
    monkeypatch.setattr(schedule, "_not_done", lambda out, jobs: [prepare])
    write_state(tmp_path, prepare, JobState("done", prepare.key, 1, 0, 1.0, 2.0))
    assert not run(tmp_path, [prepare], backend, say=lambda line: None).failed
