"""Reports of experiments: runs merged by what sets them apart."""

import pytest

from flan.cli.main import main
from flan.experiments.definitions import Instructions, LeaveOneOut, NumClusters
from flan.experiments.state import Record, write_record
from flan.reports.experiment import compare_runs

NLI = {"rte": ("nli", ("rte",), "accuracy")}
SENTIMENT = {"sst2": ("sentiment", ("sst2",), "accuracy")}


def write(folder, experiment, write_results, results):
    """`results`: run -> (level, datasets)."""
    runs = tuple(experiment.runs())
    write_record(folder, Record("made_up", runs, ()))
    for run in runs:
        if run.name not in results:
            continue
        level, datasets = results[run.name]
        write_results(
            folder / "results",
            {run.name: (level, 10)},
            seed=run.name,
            datasets=datasets,
            modes=run.modes,
        )


def test_leave_one_out_is_one_column_beside_the_base(tmp_path, write_results):
    write(
        tmp_path,
        LeaveOneOut(clusters=["nli", "sentiment"]),
        write_results,
        {"base": (40, NLI | SENTIMENT), "nli": (60, NLI), "sentiment": (80, SENTIMENT)},
    )
    comparison = compare_runs(tmp_path)
    assert [(c.label, c.mode) for c in comparison.columns] == [
        ("base", "baseline"),
        ("tuned", "instructions"),
    ]
    tuned = {g.cluster.name: g.cluster.scores[1].mean for g in comparison.groups}
    assert tuned["nli"] == pytest.approx(60, abs=6)
    assert tuned["sentiment"] == pytest.approx(80, abs=6)
    assert all(group.held_out for group in comparison.groups)


def test_runs_that_differ_otherwise_keep_their_columns(tmp_path, write_results):
    write(
        tmp_path,
        Instructions(clusters=["nli", "sentiment"]),
        write_results,
        {
            f"{cluster}-{rendering}": (level, datasets)
            for cluster, datasets in (("nli", NLI), ("sentiment", SENTIMENT))
            for rendering, level in (
                ("instructions", 70),
                ("no_template", 50),
                ("dataset_name", 60),
            )
        },
    )
    assert [c.title for c in compare_runs(tmp_path).columns] == [
        "instructions",
        "no_template",
        "dataset_name",
        "dataset_name, dataset_name prompts",
    ]


def test_numbers_of_clusters(tmp_path, write_results, capsys):
    experiment = NumClusters(counts=[1, 7], held_out=["nli"])
    results = {"base": (40, NLI), "clusters-1": (50, NLI), "clusters-7": (60, NLI)}
    write(tmp_path, experiment, write_results, results)
    assert [c.label for c in compare_runs(tmp_path).columns] == ["base", "clusters 1", "clusters 7"]
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "report" / "report.html").is_file()
    assert main(["report", str(tmp_path), "--held_out", "nli"]) == 2
    assert "give it alone" in capsys.readouterr().err


def test_an_experiment_without_results(tmp_path, write_results):
    write(tmp_path, NumClusters(), write_results, {})
    with pytest.raises(FileNotFoundError):
        compare_runs(tmp_path)
