"""`flan eval` on real rows: options and generation, dev and test, several sources."""

import json

import pytest

from flan.cli.main import main
from flan.evaluation import results


@pytest.mark.real_data
def test_real_rows_are_evaluated(real_data, checkpoint, tmp_path, capfd):
    folder, _ = checkpoint
    places = ["--data_dir", real_data, "--cache_dir", tmp_path / "cache", "--out", tmp_path / "out"]
    flags = ["--datasets", "anli,squad", "--templates", "t0", "--limit", "4", "--name", "tiny"]
    flags += ["--input_length", "256", "--target_length", "6"]
    command = ["eval", str(folder), *map(str, places), *flags]
    assert main(command) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    datasets = summary["checkpoints"]["tiny"]["modes"]["instructions"]["datasets"]
    assert datasets["anli"]["splits"]["test"]["sources"].keys() == {"r1", "r2", "r3"}
    assert datasets["anli"]["splits"]["test"]["rows"] == 12
    assert datasets["squad"]["best_dev"]["template"] == "t0"
    cells = results.load_cells(tmp_path / "out")
    assert len(cells) == 2 * (3 + 2)
    rows = results.read_predictions(cells[0].id.path(tmp_path / "out"))
    assert len(rows) == 4
    # A limit takes rows from all over the split.
    assert rows[-1]["row"] - rows[0]["row"] > 50
    capfd.readouterr()
    assert main(command) == 0
    assert "10 of them finished before" in capfd.readouterr().out
