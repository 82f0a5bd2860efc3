"""Reports of experiments: runs merged by what sets them apart."""

import pytest

from flan.cli.main import main
from flan.experiments.definitions import Instructions, LeaveOneOut, ModelScale, NumClusters
from flan.experiments.state import Record, read_record, write_record
from flan.reports.experiment import compare_runs, tags_of
from flan.reports.figures import figures
from flan.reports.ink import PAPER

NLI = {"rte": ("nli", ("rte",), "accuracy")}
COPA = {"copa": ("commonsense", ("copa",), "accuracy")}
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


def figures_of(folder):
    record, comparison = read_record(folder), compare_runs(folder)
    found = figures(comparison, {}, {}, tags_of(record, comparison))
    return comparison, {plot.name: plot for plot in found}


def lines_of(plot):
    (axes,) = plot.draw(PAPER).axes
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_the_curve_of_clusters_stands_beside_the_paper_s(tmp_path, write_results):
    experiment = NumClusters(counts=[1, 3, 7], held_out=["nli", "commonsense"])
    results = {"base": (40, NLI | COPA)}
    results |= {f"clusters-{n}": (50 + n, NLI | COPA) for n in (1, 3, 7)}
    write(tmp_path, experiment, write_results, results)
    comparison, found = figures_of(tmp_path)
    assert "published" in found["curve"].note.lower()
    assert "eight of translation for its nine" in found["curve"].note
    lines = lines_of(found["curve"])
    assert [x for x, _ in lines["mean"]] == [1, 3, 7]
    for (_, y), place in zip(lines["mean"], (1, 2, 3), strict=True):
        scores = [group.cluster.scores[place].mean for group in comparison.groups]
        assert y == pytest.approx(sum(scores) / 2)
    assert lines["nli"] != lines["commonsense"]
    assert lines["FLAN 137B, published"][0] == [1, 49.9]
    assert len(lines["untuned, mean"]) == 2


def test_sizes_are_drawn_before_and_after_tuning(tmp_path, write_results):
    models = {"configs/models/tiny.gin": "a", "configs/models/small.gin": "b"}
    experiment = ModelScale(models=models, held_out=["nli"])
    names = [run.name for run in experiment.runs()]
    write(tmp_path, experiment, write_results, dict.fromkeys(names, (50, NLI)))
    lines = lines_of(figures_of(tmp_path)[1]["curve"])
    assert set(lines) == {"mean, tuned: no", "mean, tuned: yes"}
    assert all(len(points) == 2 for points in lines.values())


def test_the_ablation_of_instructions_is_drawn(tmp_path, write_results):
    experiment = Instructions(clusters=["nli"])
    results = {f"nli-{r}": (50, NLI) for r in ("instructions", "no_template", "dataset_name")}
    write(tmp_path, experiment, write_results, results)
    _, found = figures_of(tmp_path)
    (axes,) = found["instructions"].draw(PAPER).axes
    assert len(axes.patches) == 8  # four ways, ours and published
    assert "held_out" not in found


def test_an_experiment_without_results(tmp_path, write_results):
    write(tmp_path, NumClusters(), write_results, {})
    with pytest.raises(FileNotFoundError):
        compare_runs(tmp_path)
