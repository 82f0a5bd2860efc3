import json
import math

import pytest

from flan.evaluation import results
from flan.evaluation.results import Cell, CellId, finished_cell, load_cells, read_cell, write_cell
from flan.evaluation.summary import (
    best_dev,
    mean_and_std,
    summarize,
    write_summary,
)
from flan.evaluation.summary_table import table_rows


def cell(template, value, split="test", *, source="rte", dataset="rte", cluster="nli", **kwargs):
    entries = {
        "key": "k",
        "task": "rank",
        "main_metric": "accuracy",
        "metrics": {"accuracy": value, "macro_f1": value / 2},
        "metrics_by_score": {"sum": {"accuracy": value}},
        "replicates": (value - 5.0, value + 5.0) * 20,
        "counts": {"rows": 10, "ties": 1, "cut_prompts": 2},
        "details": {"checkpoint": "abc"},
    }
    label = kwargs.pop("label", "tuned")
    entries.update(kwargs)
    return Cell(
        CellId(label, "instructions", dataset, source, split, template), cluster=cluster, **entries
    )


@pytest.fixture
def out(tmp_path):
    results.write_checkpoint(tmp_path, "tuned", {"fingerprint": "abc", "step": 7})
    return tmp_path


def test_a_cell_survives_the_disk(out):
    written = cell("t0", 62.5)
    path = write_cell(out, written, [{"row": 3, "prediction": "ja\u2028"}, {"row": 4}])
    assert path == out / "tuned/instructions/rte/rte/test-t0.json"
    assert read_cell(path) == written
    assert load_cells(out) == [written]
    assert [p["row"] for p in map(json.loads, path.with_suffix(".jsonl").open())] == [3, 4]
    assert results.read_predictions(path)[0] == {"row": 3, "prediction": "ja\u2028"}
    assert sorted(p.name for p in path.parent.iterdir()) == ["test-t0.json", "test-t0.jsonl"]


def test_only_the_same_key_counts_as_finished(out):
    written = cell("t0", 62.5)
    path = write_cell(out, written, [])
    assert finished_cell(out, written.id, "k") == written
    assert finished_cell(out, written.id, "other") is None
    assert finished_cell(out, cell("t1", 0).id, "k") is None
    path.write_text(path.read_text()[:50])
    assert finished_cell(out, written.id, "k") is None
    with pytest.raises(ValueError, match=r"test-t0\.json"):
        load_cells(out)


def test_a_kill_between_the_files_leaves_no_result(out, monkeypatch):
    written = cell("t0", 62.5)
    path = write_cell(out, written, [{"row": 3}])

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(results.atomic, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        write_cell(out, cell("t0", 50.0, key="other"), [{"row": 3}, {"row": 4}])
    assert finished_cell(out, written.id, "k") is None
    assert load_cells(out) == []
    monkeypatch.undo()
    write_cell(out, written, [{"row": 3}])
    path.with_suffix(".jsonl").unlink()
    assert finished_cell(out, written.id, "k") is None


ENTRY = '{"format": "flan-evaluation-2", "fingerprint": "abc", "training": {"rows": {"x": 1}}}'
DAMAGED = {
    "instructions/rte/rte/test-t1.json": '{"format"',
    "instructions/rte/rte/test-t2.json": "[" * 100_000,
    "checkpoint.json": ENTRY,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_left_out_of_the_summary_and_named(out, name, caplog):
    write_cell(out, cell("t0", 62.5), [])
    results.write_checkpoint(out, "other", {"fingerprint": "abc", "step": 7})
    write_cell(out, cell("t0", 62.5, label="other"), [])
    path = out / "other" / name
    path.write_text(DAMAGED[name])
    with pytest.raises(ValueError, match=str(path)):
        load_cells(out)
    summary = write_summary(out)
    assert "tuned" in summary["checkpoints"]
    assert str(path) in caplog.text


@pytest.mark.parametrize("name", ["summary.json", "checkpoint.json"])
def test_names_of_result_files_are_no_names_of_checkpoints(name):
    with pytest.raises(ValueError, match="is the name of a file of results"):
        results.safe_name("checkpoint name", name)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "x" * 101, "a\\b", "é"])
def test_names_never_leave_the_folder(name):
    for position in range(6):
        parts = ["tuned", "instructions", "rte", "rte", "dev", "t0"]
        parts[position] = name
        with pytest.raises(ValueError, match="cannot name a file"):
            CellId(*parts)
    with pytest.raises(ValueError, match="cannot name a file"):
        results.safe_name("checkpoint name", name)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "else"},
        {"metrics": {"accuracy": math.nan}},
        {"metrics": {"f1": 1.0}},
        {"counts": {"rows": True}},
        {"metrics_by_score": {"sum": 3}},
        {"replicates": [1.0, math.inf]},
        {"replicates": {"a": 1.0}},
        {"id": {"checkpoint": "tuned"}},
        {"id": {**cell("t0", 1).to_json()["id"], "split": "../../x"}},
        {"id": {**cell("t0", 1).to_json()["id"], "split": 3}},
        {"key": None},
        {"surprise": 1},
    ],
)
def test_foreign_json_is_refused(change):
    good = cell("t0", 1.0).to_json()
    assert Cell.from_json(good) == cell("t0", 1.0)
    with pytest.raises(ValueError, match=r".+"):
        Cell.from_json({**good, **change})
    for other in (None, [], "x", {}):
        with pytest.raises(ValueError, match="format"):
            Cell.from_json(other)


def test_a_moved_cell_is_noticed(out):
    path = write_cell(out, cell("t0", 1.0), [])
    path.rename(path.with_name("test-t1.json"))
    with pytest.raises(ValueError, match="was it moved"):
        load_cells(out)


def test_results_of_earlier_weights_are_left_out(out):
    write_cell(out, cell("t0", 1.0), [])
    write_cell(out, cell("t1", 2.0, details={"checkpoint": "old"}), [])
    assert [c.id.template for c in load_cells(out)] == ["t0"]
    with pytest.raises(FileNotFoundError, match="flan eval"):
        load_cells(out / "none")


def test_mean_std_and_best_dev_by_hand():
    cells = [cell(f"t{i}", v) for i, v in enumerate([60.0, 70.0, 65.0])]
    cells += [cell(f"t{i}", v, "dev") for i, v in enumerate([50.0, 61.0, 61.0])]
    entry = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]["datasets"]["rte"]
    test = entry["splits"]["test"]
    assert test["mean"] == 65.0
    assert test["std"] == pytest.approx(5.0)
    assert test["rows"] == 10
    assert test["ties"] == 3
    assert test["metrics"]["macro_f1"] == {"mean": 32.5, "std": pytest.approx(2.5)}
    # t1 and t2 tie on dev; the first is taken
    best = entry["best_dev"]
    assert (best["template"], best["dev"], best["test"], best["candidates"]) == ("t1", 61, 70, 3)


def test_intervals_by_hand():
    """Replicates that swing together swing the mean; those that swing apart cancel out."""
    even, odd = (-4.0, 4.0) * 20, (4.0, -4.0) * 20
    swings = {"t0": even, "t1": even, "t2": odd}
    test = [cell(t, 60.0, replicates=tuple(60 + r for r in s)) for t, s in swings.items()]
    dev = {"t0": even, "t1": (0.0,) * 40, "t2": (-9.0,) * 40}
    cells = test + [
        cell(t, 50.0 + (t == "t1"), "dev", replicates=tuple(50 + r for r in s))
        for t, s in dev.items()
    ]
    entry = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]
    rte = entry["datasets"]["rte"]
    assert rte["splits"]["test"]["intervals"] == {t: [56.0, 64.0] for t in swings}
    third = round(4 / 3, 3)
    assert rte["splits"]["test"]["interval"] == [60 - third, 60 + third]
    assert entry["clusters"]["nli"]["splits"]["test"]["interval"] == [60 - third, 60 + third]
    # In every other sample of dev rows t0 (54) beats t1 (50), just where t0 and t1 are at 64.
    best = rte["best_dev"]
    assert (best["template"], best["interval"], best["chosen_again"]) == ("t1", [56.0, 64.0], 0.5)
    assert best["choice_interval"] == [56.0, 64.0]


def test_intervals_need_replicates_of_all_parts():
    cells = [cell("t0", 60.0), cell("t1", 60.0, replicates=()), cell("t0", 50.0, "dev")]
    entry = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]
    test = entry["datasets"]["rte"]["splits"]["test"]
    assert test["interval"] is None
    assert list(test["intervals"]) == ["t0"]
    assert entry["datasets"]["rte"]["best_dev"]["chosen_again"] == 1.0


def test_sources_are_kept_apart_and_pooled_by_mean():
    values = {"r1": [40.0, 50.0], "r2": [30.0, 20.0]}
    cells = [
        cell(f"t{i}", v, source=s, dataset="anli", counts={"rows": 4 if s == "r1" else 9})
        for s, vs in values.items()
        for i, v in enumerate(vs)
    ]
    split = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]["datasets"]["anli"]
    split = split["splits"]["test"]
    assert split["templates"] == {"t0": 35.0, "t1": 35.0}
    assert (split["mean"], split["std"], split["rows"]) == (35.0, 0.0, 13)
    assert split["sources"]["r1"]["mean"] == 45.0
    assert split["sources"]["r1"]["std"] == pytest.approx(math.sqrt(50))


def test_partial_results_can_be_summarized():
    cells = [
        cell("t0", 40.0, source="r1", dataset="anli"),
        cell("t0", 20.0, source="r2", dataset="anli"),
        cell("t1", 90.0, source="r1", dataset="anli"),  # r2 not there yet
        cell("t1", 90.0, "dev", source="r1", dataset="anli"),
    ]
    entry = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]["datasets"]["anli"]
    assert entry["splits"]["test"]["templates"] == {"t0": 30.0}
    assert entry["splits"]["test"]["std"] is None
    assert entry["splits"]["test"]["sources"]["r1"]["mean"] == 65.0
    assert entry["best_dev"] is None
    assert summarize([])["checkpoints"] == {}


def test_a_cluster_is_the_mean_over_its_datasets():
    cells = [
        *(cell(f"t{i}", v) for i, v in enumerate([60.0, 70.0])),
        *(cell(f"t{i}", v, "dev") for i, v in enumerate([9.0, 8.0])),
        cell("t0", 15.0, dataset="cb", source="cb"),
        cell("t0", 33.0, dataset="copa", source="copa", cluster="commonsense"),
    ]
    clusters = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]["clusters"]
    assert list(clusters) == ["nli", "commonsense"]
    test = clusters["nli"]["splits"]["test"]
    assert (test["mean"], test["datasets"]) == (40.0, ["cb", "rte"])
    assert test["interval"] == [35.0, 45.0]
    assert clusters["nli"]["best_dev"] == {"test": 60.0, "datasets": ["rte"]}
    assert clusters["commonsense"]["best_dev"] is None


def test_the_summary_file_holds_every_checkpoint(out):
    results.write_checkpoint(out, "base", {"fingerprint": "xyz", "step": 0})
    write_cell(out, cell("t0", 10.0), [])
    write_cell(out, cell("t0", 5.0, label="base", details={"checkpoint": "xyz"}), [])
    summary = write_summary(out)
    assert json.loads((out / "summary.json").read_text()) == summary
    assert [summary["checkpoints"][c]["step"] for c in ("base", "tuned")] == [0, 7]


def test_cells_of_different_settings_are_not_averaged_silently():
    full = {"checkpoint": "abc", "limit": None, "template": "x", "seconds": 1.0}
    cells = [cell("t0", 1.0, details=full), cell("t1", 2.0, details={**full, "template": "y"})]
    mode = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]
    assert mode["datasets"]["rte"]["splits"]["test"]["mixed"] is False
    assert table_rows(mode)[1][0] == "  rte"
    cells[1] = cell("t1", 2.0, details={**full, "limit": 5})
    mode = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]
    assert mode["datasets"]["rte"]["splits"]["test"]["mixed"] is True
    assert table_rows(mode)[1][0] == "  rte (mixed settings)"


def test_the_table_has_clusters_and_their_datasets():
    cells = [
        *(cell(f"t{i}", v) for i, v in enumerate([60.0, 70.0])),
        *(cell(f"t{i}", v, "dev") for i, v in enumerate([9.0, 8.0])),
        cell("t0", 33.0, dataset="copa", source="copa", cluster="commonsense"),
    ]
    mode = summarize(cells)["checkpoints"]["tuned"]["modes"]["instructions"]
    assert table_rows(mode) == [
        ("nli", "", "", "", "8.5", "65.0", "[60.0, 70.0]", "60.0"),
        (
            "  rte",
            "accuracy",
            "2",
            "10",
            "8.5 ± 0.7",
            "65.0 ± 7.1",
            "[60.0, 70.0]",
            "60.0 (t0, 100%)",
        ),
        ("commonsense", "", "", "", "", "33.0", "[28.0, 38.0]", ""),
        ("  copa", "accuracy", "1", "10", "", "33.0", "[28.0, 38.0]", ""),
    ]
    assert [row[0] for row in table_rows(mode, ["copa"])] == ["commonsense", "  copa"]


def test_best_dev_and_few_values():
    assert best_dev({"t2": 1.0, "t10": 1.0}, {"t10": 5.0, "t2": 6.0})["template"] == "t2"
    assert best_dev({"t0": 1.0}, {"t1": 1.0}) is None
    assert mean_and_std([]) == {"mean": None, "std": None}
    assert mean_and_std([4.0]) == {"mean": 4.0, "std": None}
