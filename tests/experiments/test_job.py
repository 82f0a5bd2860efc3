"""Jobs as processes: cheap commands of `flan` stand for long ones."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cheap_jobs import BAD, GOOD, state_of, wait_for

from flan.data import atomic
from flan.experiments import job, locks
from flan.experiments.backends.local import LocalBackend
from flan.experiments.graph import Job
from flan.experiments.hosts import Hosts
from flan.experiments.job import EXIT_STOPPED, run_job
from flan.experiments.progress import log_tail, progress_rows, unfinished
from flan.experiments.state import (
    JobState,
    Record,
    read_record,
    write_record,
    write_state,
)

BAD_FIRST = Job("a/train", ("no_such_command",))


def test_jobs_share_what_they_compile_unless_told_where(out, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    assert job._environment(out)["JAX_COMPILATION_CACHE_DIR"] == str(out / "compiled")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    assert job._environment(out)["JAX_COMPILATION_CACHE_DIR"] == "/mine"


def test_a_job_leaves_its_state_and_log(out):
    assert run_job(out, "prepare") == 0
    state = state_of(out, "prepare")
    assert (state.status, state.attempts, state.exit_code) == ("done", 1, 0)
    assert log_tail(out, "prepare").splitlines()[0] == "$ flan --version"
    assert run_job(out, "prepare") == 0
    assert state_of(out, "prepare").attempts == 1
    assert run_job(out, "a/train") == 2
    assert (state_of(out, "a/train").status, state_of(out, "a/train").exit_code) == ("failed", 2)
    rows = {row[0]: row for row in progress_rows(out, read_record(out))}
    assert rows["prepare"][1] == "done"
    assert rows["a/train"][1] == "failed (2)"
    assert "unknown command" in rows["a/train"][-1]
    assert rows["a/eval"][1:3] == ("waiting", "")
    assert unfinished(out, read_record(out)) == 2
    with pytest.raises(ValueError, match="unknown job 'c'"):
        run_job(out, "c")


def test_a_report_is_made_again_once_there_is_more_to_report(out):
    record = read_record(out)
    report = Job("report", ("--version",), ("prepare", "a/eval"), tolerant=True)
    write_record(out, Record(record.name, record.runs, (*record.jobs, report)))
    for name in ("prepare", "report", "report"):
        assert run_job(out, name) == 0
    assert state_of(out, "report").attempts == 1
    later = state_of(out, "report").ended + 1
    evaluation = read_record(out).jobs[2]
    write_state(out, evaluation, JobState("done", evaluation.key, 1, 0, later, later))
    assert run_job(out, "report") == 0
    assert state_of(out, "report").attempts == 2


def test_a_stopped_job_goes_on_later(out):
    job = next(j for j in read_record(out).jobs if j.name == "a/eval")
    handle = LocalBackend().start(out, job)
    wait_for(lambda: state_of(out, "a/eval").status == "running")
    handle.stop()
    wait_for(lambda: not handle.running())
    assert state_of(out, "a/eval").status == "stopped"


def test_jobs_end_with_a_killed_launcher(out):
    code = (
        "import sys, time; from pathlib import Path; "
        "from flan.experiments.backends.local import LocalBackend; "
        "from flan.experiments.state import read_record; out = Path(sys.argv[1]); "
        "LocalBackend().start(out, read_record(out).jobs[-1]); print('started', flush=True); "
        "time.sleep(600)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE)
    assert launcher.stdout.readline() == b"started\n"
    wait_for(lambda: state_of(out, "a/eval").status == "running")
    process = state_of(out, "a/eval").process
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    wait_for(lambda: state_of(out, "a/eval").status == "stopped")

    def gone():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(gone)


def test_a_command_ends_with_its_killed_wrapper(out):
    job = next(j for j in read_record(out).jobs if j.name == "a/eval")
    wrapper = LocalBackend().start(out, job)

    def commands():
        return [p for p in Path("/proc").glob("[0-9]*") if _is_command(p, out)]

    wait_for(lambda: state_of(out, "a/eval").status == "running" and commands())
    os.kill(state_of(out, "a/eval").process, signal.SIGKILL)
    wait_for(lambda: not wrapper.running())
    wait_for(lambda: not commands())


def test_a_job_is_locked_as_long_as_its_command_lives(out, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        with locks.lock(tmp_path / "lock", wait=False) as held:
            words = ["status", str(out), "--watch"]
            command = job._Command(out, words, log.fileno(), held=[held.fileno()])
            thread = threading.Thread(target=command.run, args=(False,))
            thread.start()
            wait_for(lambda: command._process is not None)
        # As after the wrapper's end.
        with pytest.raises(BlockingIOError), locks.lock(tmp_path / "lock", wait=False):
            pass
        command.stop()
        thread.join()
        with locks.lock(tmp_path / "lock", wait=False):
            pass


def test_a_folder_without_locks_is_worked_in_with_a_warning(out, tmp_path, monkeypatch, capsys):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.lock(tmp_path / "lock", wait=True):
        assert "on a file system without locks" in capsys.readouterr().err


def _is_command(process, out):
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"flan.cli.main" in words and str(out).encode() in words


def test_only_this_machine_s_jobs_can_be_seen_to_be_lost(out):
    gone = subprocess.Popen(["true"])
    gone.wait()
    good = read_record(out).jobs[0]
    for machine, word in ((atomic.machine(), "lost"), ("node7", "running")):
        state = JobState("running", good.key, 1, None, 1.0, None, gone.pid, machine)
        write_state(out, good, state)
        assert progress_rows(out, read_record(out))[0][1] == word


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["job", *map(str, words)])
    return job.main()


def test_a_machine_brings_the_record_along_and_runs_several_jobs(out, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    record = out / "experiment.json"
    assert call(monkeypatch, elsewhere, "prepare", "a/train", "--record", record) == 2
    assert state_of(elsewhere, "prepare").status == "done"
    assert state_of(elsewhere, "a/train").exit_code == 2
    assert (elsewhere / "experiment.json").read_bytes() == record.read_bytes()


def test_a_failed_job_is_tried_again_but_not_for_a_mistake(out, monkeypatch):
    fails = Job("prepare", ("eval", str(out / "experiment.json"), "--datasets", "rte"))
    write_record(out, Record("leave_one_out", read_record(out).runs, (fails, BAD)))
    codes = iter([1, 1, 1])
    monkeypatch.setattr(job._Command, "run", lambda self, stop: next(codes))
    assert call(monkeypatch, out, "prepare", "--retries", "2") == 1
    assert state_of(out, "prepare").attempts == 3
    monkeypatch.undo()
    write_record(out, Record("leave_one_out", read_record(out).runs, (BAD_FIRST,)))
    assert call(monkeypatch, out, "a/train", "--retries", "2") == 2
    assert state_of(out, "a/train").attempts == 1


def test_a_job_waits_for_no_one_whose_work_it_needs(out, monkeypatch, capsys):
    assert call(monkeypatch, out, "a/train") == 2
    assert "a/train needs prepare, not done in" in capsys.readouterr().err
    assert not (out / "jobs").exists()
    assert call(monkeypatch, out, "a/trian") == 2
    assert "Did you mean 'a/train'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), ()),
        (("--num_processes", "2"), ("--distributed",)),
        (
            ("--num_processes", "2", "--coordinator_address", "h:1"),
            ("--coordinator_address=h:1", "--num_processes=2", "--process_id=0"),
        ),
    ],
)
def test_a_training_hears_of_its_other_hosts(out, monkeypatch, flags, expected):
    write_record(out, Record("leave_one_out", read_record(out).runs, (BAD_FIRST,)))
    assert call(monkeypatch, out, "a/train", *flags) == 2
    first = log_tail(out, "a/train").splitlines()[0]
    assert first == " ".join(["$ flan no_such_command", *expected])
    # The job is the same on one host and on several.
    assert state_of(out, "a/train").exit_code == 2


def test_only_the_first_process_keeps_the_state_and_evaluates(out, monkeypatch):
    write_record(out, Record("leave_one_out", read_record(out).runs, (GOOD, BAD_FIRST)))
    flags = ("--num_processes", "2", "--process_id", "1")
    assert call(monkeypatch, out, "prepare", *flags) == 0
    assert call(monkeypatch, out, "a/train", *flags) == 2
    assert (state_of(out, "prepare").status, state_of(out, "a/train").status) == ("waiting",) * 2
    assert "--distributed" in (out / "jobs" / "a.train" / "log.1.txt").read_text()
    with pytest.raises(TimeoutError, match="all hosts must see one folder"):
        job.put_record(out / "none", out / "experiment.json", Hosts(2, 1), patience_s=0)
    assert call(monkeypatch, out, "prepare", "--process_id", "3") == 2


def test_exit_code_of_a_saved_run():
    from flan.cli.train import EXIT_PREEMPTED

    assert EXIT_STOPPED == EXIT_PREEMPTED


def test_a_folder_holds_one_experiment(out):
    record = read_record(out)
    assert record.runs[0].mixture == "flan_sst2"
    with pytest.raises(ValueError, match="holds the experiment 'leave_one_out'"):
        write_record(out, Record("num_clusters", record.runs, record.jobs))
    (out / "experiment.json").write_text("{}")
    with pytest.raises(ValueError, match="not of format"):
        read_record(out)
    with pytest.raises(FileNotFoundError, match="flan launch"):
        read_record(out / "none")


@pytest.mark.parametrize(
    "text",
    [
        '{"status": "running", "key": "KEY", "attempts": 1, "started": "x"}',
        '{"status": "running", "key": "KEY", "started": 1e999}',
        '{"status": ["running"], "key": "KEY"}',
        '{"status": "done", "key": "KEY", "more": 1}',
        "[" * 100_000,
        "[1]",
    ],
)
def test_a_damaged_state_is_none(out, text):
    prepare = read_record(out).jobs[0]
    folder = out / "jobs" / "prepare"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(text.replace("KEY", prepare.key))
    assert state_of(out, "prepare") == JobState(key=prepare.key)
    assert progress_rows(out, read_record(out))[0][1] == "waiting"


@pytest.mark.parametrize(
    ("what", "entry", "value", "message"),
    [
        ("jobs", "name", 5, "name must be str, got 5"),
        ("jobs", "arguments", 5, "arguments must be a list of str, got 5"),
        ("jobs", "needs", None, "needs must be a list of str"),
        ("jobs", "more", 1, "unexpected keyword"),
        ("runs", "modes", None, "modes must be a list of str"),
        ("runs", "name", "../x", "cannot name a folder"),
        ("runs", "tags", [], "tags must be a dict"),
    ],
)
def test_a_damaged_record_is_named(out, what, entry, value, message):
    path = out / "experiment.json"
    content = json.loads(path.read_text())
    content[what][0][entry] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"experiment\.json: .*{message}"):
        read_record(out)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"experiment\.json"):
        read_record(out)
