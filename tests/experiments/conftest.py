import pytest
from cheap_jobs import BAD, GOOD

from flan.experiments.graph import Job
from flan.experiments.runs import RunSpec
from flan.experiments.state import Record, write_record


@pytest.fixture
def out(tmp_path):
    """An experiment's folder: a job that is done, one that fails, one without an end."""
    folder = tmp_path / "out"
    # Watches the experiment itself, which is never done while it watches.
    endless = Job("a/eval", ("status", str(folder), "--watch", "--every", "0.2"))
    run = RunSpec(name="a", mixture="flan_sst2", evaluate=("nli",), held_out=("nli",))
    write_record(folder, Record("leave_one_out", (run,), (GOOD, BAD, endless)))
    return folder
