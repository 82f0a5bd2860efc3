import json
import math
import shutil
import statistics

import pytest

from flan.evaluation.results import load_cells
from flan.evaluation.summary import write_summary
from flan.reports.comparison import compare

GONE = object()


def lines_of(comparison):
    return {line.name: line for group in comparison.groups for line in group.datasets}


def test_scores_are_those_of_the_cells(results):
    comparison = compare([results])
    assert [c.label for c in comparison.columns] == ["base", "tuned"]
    cells = [c for c in load_cells(results, ["tuned"]) if c.id.dataset == "rte"]
    test = {c.id.template: c.main for c in cells if c.id.split == "test"}
    dev = {c.id.template: c.main for c in cells if c.id.split == "dev"}
    score = lines_of(comparison)["rte"].scores[1]
    assert score.mean == pytest.approx(statistics.fmean(test.values()))
    assert score.std == pytest.approx(statistics.stdev(test.values()))
    assert score.best_template == max(dev, key=dev.get)
    assert score.best == pytest.approx(test[score.best_template])
    assert score.templates == pytest.approx(test)


def test_a_clusters_score_is_the_mean_of_its_datasets(results):
    comparison = compare([results], held_out=["sentiment"])
    assert [g.cluster.name for g in comparison.groups] == [
        "sentiment",  # held out: first
        "nli",
        "translation",
        "reading_comprehension",
        "reading_comprehension_commonsense",
    ]
    assert [g.held_out for g in comparison.groups] == [True] + [False] * 4
    nli = comparison.groups[1]
    scores = [line.scores[0] for line in nli.datasets]
    cluster = nli.cluster.scores[0]
    assert cluster.mean == pytest.approx(statistics.fmean(s.mean for s in scores))
    assert cluster.std == pytest.approx(math.sqrt(sum(s.std**2 for s in scores)) / 3)
    assert cluster.best == pytest.approx(statistics.fmean(s.best for s in scores))
    assert nli.cluster.gain(1) == pytest.approx(nli.cluster.scores[1].mean - cluster.mean)
    assert nli.cluster.rows == 200 * (1 + 3 + 1)


def test_clusters_count_the_datasets_that_all_have(tmp_path, write_results):
    nli = {name: ("nli", (name,), "accuracy") for name in ("rte", "cb", "wnli")}
    both = write_results(tmp_path / "a", {"base": (40, 0)}, datasets=nli)
    some = write_results(tmp_path / "b", {"tuned": (60, 9)}, datasets={"rte": nli["rte"]})
    comparison = compare([both, some])
    (group,) = comparison.groups
    rte = lines_of(comparison)["rte"]
    assert [s.mean for s in group.cluster.scores] == [s.mean for s in rte.scores]
    assert lines_of(comparison)["cb"].scores[1] is None
    assert lines_of(comparison)["cb"].gain(1) is None
    assert group.cluster.rows == 200


def test_a_cluster_without_common_datasets_has_no_score(tmp_path, write_results):
    datasets = {name: ("nli", (name,), "accuracy") for name in ("rte", "cb")}
    one = write_results(tmp_path / "a", {"base": (40, 0)}, datasets={"rte": datasets["rte"]})
    two = write_results(tmp_path / "b", {"tuned": (60, 9)}, datasets={"cb": datasets["cb"]})
    (group,) = compare([one, two]).groups
    assert group.cluster.scores == (None, None)


def test_order_of_columns(tmp_path, write_results):
    labels = {"late": (50, 30), "early": (50, 2), "base": (40, 99), "unknown": (1, None)}
    folder = write_results(tmp_path / "a", labels, datasets={"rte": ("nli", ("rte",), "accuracy")})
    assert [c.label for c in compare([folder]).columns] == ["base", "unknown", "early", "late"]
    chosen = compare([folder], checkpoints=["late", "base"])
    assert [c.label for c in chosen.columns] == ["late", "base"]
    with pytest.raises(ValueError, match="Did you mean 'early'"):
        compare([folder], checkpoints=["erly"])


def test_modes_are_columns(tmp_path, write_results):
    folder = write_results(
        tmp_path / "a",
        {"base": (50, 3)},
        datasets={"rte": ("nli", ("rte",), "accuracy")},
        modes=("instructions", "baseline"),
    )
    titles = [column.title for column in compare([folder]).columns]
    assert titles == ["base, baseline prompts", "base"]


def test_labels_of_several_folders_are_told_apart(tmp_path, write_results):
    rte = {"rte": ("nli", ("rte",), "accuracy")}
    folders = [
        write_results(tmp_path / name, {"tuned": (50, 3)}, seed=i, datasets=rte)
        for i, name in enumerate(["a/results", "b/results", "c/results"])
    ]
    columns = compare(folders).columns
    assert [c.label for c in columns] == ["tuned", "results/tuned", "results/tuned (2)"]


def test_a_summary_alone_will_do(results, tmp_path):
    write_summary(results)
    alone = tmp_path / "copied"
    alone.mkdir()
    shutil.copy(results / "summary.json", alone)
    assert compare([alone]) == compare([results])


def test_dev_split(results):
    score = lines_of(compare([results], split="dev"))["rte"].scores[0]
    assert score.best is None
    with pytest.raises(ValueError, match="'dev'"):
        compare([results], split="deb")


def test_missing_results(tmp_path, results):
    with pytest.raises(FileNotFoundError, match="flan eval"):
        compare([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="Did you mean 'nli'"):
        compare([results], held_out=["nil"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), []),
        (("format",), "flan-summary-0"),
        (("checkpoints",), None),
        (("checkpoints", "base", "step"), "many"),
        (("checkpoints", "base", "modes", "instructions", "datasets", "rte"), 3),
        (("checkpoints", "base", "modes", "instructions", "datasets", "rte", "cluster"), None),
        (
            ("checkpoints", "base", "modes", "instructions", "datasets", "rte", "splits", "test"),
            {"templates": {"t0": "high"}, "mean": 1, "std": 1, "rows": 4},
        ),
        (
            ("checkpoints", "base", "modes", "instructions", "datasets", "rte", "best_dev"),
            {"template": "t0", "test": None},
        ),
        *(
            (("checkpoints", "base", "modes", "instructions", "datasets", "rte", *path), value)
            for path, value in (
                (("best_dev",), GONE),
                (("main_metric",), "a\ud800b"),
                (("splits", "test", "mean"), GONE),
                (("splits", "test", "std"), GONE),
                (("splits", "test", "mean"), 1e300),
                (("splits", "test", "rows"), -1),
                (("splits", "test", "templates"), {"t0": None}),
            )
        ),
    ],
)
def test_a_damaged_summary_is_refused(results, tmp_path, path, value):
    content = write_summary(results)
    if path:
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        if value is GONE:
            del inner[path[-1]]
    else:
        content = value
    alone = tmp_path / "copied"
    alone.mkdir()
    (alone / "summary.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"summary\.json"):
        compare([alone])


def test_a_summary_that_is_no_json_is_refused(tmp_path):
    for text in ("", "{", "[" * 100_000, '{"format": NaN}'):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(ValueError, match=r"summary\.json"):
            compare([tmp_path])
