"""`flan demo`, in small: the whole path, and a second run that keeps what is finished."""

from __future__ import annotations

import json
import time

import pytest

from flan.cli.main import main
from flan.evaluation.results import load_cells

SMALL = ["--pretrain_steps", "3", "--tune_steps", "22", "--rows", "1"]


@pytest.mark.slow
def test_the_demo_ends_in_a_report_and_is_quick_the_second_time(tmp_path, capfd):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), *SMALL]) == 0
    page = (out / "report" / "report.html").read_text()
    assert "held out" in page
    assert "wmt16_deen" in page
    cells = {cell.id: cell for cell in load_cells(out / "results")}
    assert {c.checkpoint for c in cells} == {"base", "tuned"}
    assert {c.dataset for c in cells} >= {"rte", "cb", "anli", "mnli", "sst2", "wmt16_deen"}
    receipt = json.loads((out / "tuned" / "receipt.json").read_text())
    trained = {line["dataset"] for line in receipt["lines"]}
    assert trained.isdisjoint({"rte", "cb", "anli", "mnli", "qnli", "snli", "wnli", "mrpc"})

    stamp = time.time()
    capfd.readouterr()
    assert main(["demo", "--out", str(out), *SMALL]) == 0
    assert "nothing to do" in capfd.readouterr().err
    made_anew = {
        path.name
        for folder in ("caches", "base", "results/base", "tfds")
        for path in (out / folder).rglob("*")
        if path.is_file() and path.stat().st_mtime > stamp
    }
    # Descriptions may be written again; data, caches, weights and scores may not.
    assert made_anew <= {"receipt.json", "checkpoint.json", ".prepare.lock"}
