"""The driver on demo rows: cells, resuming, invariance, errors."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from flan.catalog.registry import get_dataset
from flan.data.example_rows import demo_examples
from flan.evaluation import driver, results
from flan.evaluation.driver import evaluate
from flan.evaluation.fingerprint import params_fingerprint
from flan.evaluation.metrics import get_metric
from flan.evaluation.model import EvaluationModel
from flan.evaluation.modes import parse_mode
from flan.evaluation.prompts import Lengths
from flan.evaluation.resampling import REPLICATES
from flan.evaluation.rows import ListedRows, spread
from flan.evaluation.settings import CellSettings
from flan.templates import load_templates

SETTINGS = CellSettings(lengths=Lengths(inputs=200, targets=8), batch_rows=2)


class DemoRows:
    """A `RowStore` of generated rows: 6 for dev, 9 for test, the rest for train."""

    def __init__(self):
        self.sets = {}

    def open(self, datasets, splits):
        for dataset in datasets:
            for source in dataset.sources:
                kept = [
                    e.fields
                    for e in demo_examples(dataset, 40)
                    if e.source == source.name and e.fields is not None
                ]
                for split, examples in (
                    ("dev", kept[:6]),
                    ("test", kept[6:15]),
                    ("train", kept[15:]),
                ):
                    key = (dataset.name, source.name, split)
                    self.sets.setdefault(key, ListedRows(f"{split}-rows", examples))
        return {k: v for k, v in self.sets.items() if k[2] in splits}


@pytest.fixture(scope="module")
def model(tiny_model, characters):
    network, params = tiny_model
    return EvaluationModel("tiny", network, params, characters, 3, params_fingerprint(params))


@pytest.fixture(scope="module")
def store():
    return DemoRows()


@pytest.fixture(scope="module")
def finished(model, store, tmp_path_factory):
    """One evaluation of a dataset with options and one without."""
    out = tmp_path_factory.mktemp("results")
    names = ["rte", "natural_questions"]
    return out, evaluate(model, names, store, out, templates=["t0", "t1"], settings=SETTINGS)


def test_each_dataset_split_and_template_is_a_cell(finished):
    out, evaluation = finished
    assert {(c.id.dataset, c.id.split, c.id.template) for c in evaluation.cells} == {
        (d, s, t)
        for d in ("rte", "natural_questions")
        for s in ("dev", "test")
        for t in ("t0", "t1")
    }
    assert evaluation.kept == 0
    assert {c.task for c in evaluation.cells if c.id.dataset == "rte"} == {"rank"}
    assert {c.task for c in evaluation.cells if c.id.dataset != "rte"} == {"generate"}
    for cell in evaluation.cells:
        assert cell.counts["rows"] == {"dev": 6, "test": 9}[cell.id.split]
        assert all(0 <= v <= 100 for v in cell.metrics.values())
        assert results.read_cell(cell.id.path(out)) == cell


def test_predictions_give_the_metrics(finished):
    out, evaluation = finished
    for cell in evaluation.cells:
        rows = results.read_predictions(cell.id.path(out))
        assert [r["row"] for r in rows] == list(range(cell.counts["rows"]))
        metric = get_metric(get_dataset(cell.id.dataset).metrics[0])
        found = metric.function([r["references"] for r in rows], [r["prediction"] for r in rows])
        assert found[metric.main] == cell.main
        for row in rows if cell.task == "rank" else ():
            scores = row["scores"]["sum"]
            assert row["choice"] == scores.index(max(scores)) or row["tied"]
            assert len(scores) == len(row["options"]) == 2
            assert row["prediction"] == get_dataset("rte").options[row["choice"]]


def test_replicates_centre_on_the_score(finished):
    _, evaluation = finished
    for cell in evaluation.cells:
        assert len(cell.replicates) == REPLICATES
        assert np.mean(cell.replicates) == pytest.approx(cell.main, abs=3)


def test_the_summary_is_on_disk(finished):
    out, evaluation = finished
    assert json.loads((out / "summary.json").read_text()) == evaluation.summary
    datasets = evaluation.summary["checkpoints"]["tiny"]["modes"]["instructions"]["datasets"]
    cells = [c for c in evaluation.cells if c.id.dataset == "rte" and c.id.split == "test"]
    assert datasets["rte"]["splits"]["test"]["mean"] == sum(c.main for c in cells) / 2


def test_a_second_run_keeps_everything(finished, model, store, monkeypatch):
    out, evaluation = finished
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.glob("*/*/*/*/*")}

    def forbidden(*args, **kwargs):
        raise AssertionError("a finished cell was computed again")

    monkeypatch.setattr(driver, "run_cells", forbidden)
    names = ["rte", "natural_questions"]
    again = evaluate(model, names, store, out, templates=["t0", "t1"], settings=SETTINGS)
    assert again.cells == evaluation.cells
    assert again.kept == len(again.cells)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.glob("*/*/*/*/*")} == before
    with pytest.raises(AssertionError, match="computed again"):
        evaluate(model, ["rte"], store, out, templates=["t0"], settings=SETTINGS, resume=False)


@pytest.mark.parametrize("change", ["limit", "score", "weights", "rows", "lengths"])
def test_what_changes_the_result_changes_the_key(finished, model, store, monkeypatch, change):
    out, _ = finished
    options = {"settings": SETTINGS, "limit": None}
    if change == "limit":
        options["limit"] = 2
    elif change == "score":
        options["settings"] = dataclasses.replace(SETTINGS, score="token_mean")
    elif change == "weights":
        params = jax.tree.map(lambda x: x * 0.9, model.params)
        model = dataclasses.replace(model, params=params, fingerprint=params_fingerprint(params))
    elif change == "lengths":
        options["settings"] = dataclasses.replace(SETTINGS, lengths=Lengths(180, 8))
    else:
        store = DemoRows()
        rows = next(v for k, v in store.open([get_dataset("rte")], ["test"]).items())
        store.sets[("rte", "rte", "test")] = ListedRows("other", rows.examples)

    class Computed(Exception):
        pass

    def computed(*args, **kwargs):
        raise Computed

    monkeypatch.setattr(driver, "run_cells", computed)
    monkeypatch.setattr(results, "write_checkpoint", lambda *a: None)
    with pytest.raises(Computed):
        evaluate(model, ["rte"], store, out, templates=["t0"], splits=["test"], **options)


def test_a_limit_that_takes_all_rows_changes_nothing(finished, model, store):
    out, _ = finished
    again = evaluate(model, ["rte"], store, out, templates=["t0", "t1"], limit=9, settings=SETTINGS)
    assert again.kept == 4


def test_an_interrupted_run_goes_on(model, store, tmp_path, monkeypatch):
    real, calls = driver.run_cells, []

    def third_fails(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(driver, "run_cells", third_fails)
    monkeypatch.setattr(driver, "_ROWS_TOGETHER", 1)
    options = {"templates": ["t0", "t1"], "settings": SETTINGS}
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, ["rte"], store, tmp_path, **options)
    partial = json.loads((tmp_path / "summary.json").read_text())
    splits = partial["checkpoints"]["tiny"]["modes"]["instructions"]["datasets"]["rte"]["splits"]
    assert list(splits) == ["dev"]
    finished = evaluate(model, ["rte"], store, tmp_path, **options)
    assert (finished.kept, len(finished.cells), len(calls)) == (2, 4, 5)


def test_batch_size_and_order_change_no_prediction(finished, model, store, tmp_path):
    out, evaluation = finished
    other = dataclasses.replace(SETTINGS, batch_rows=3)
    again = evaluate(
        model,
        ["natural_questions", "rte"],
        store,
        tmp_path,
        templates=["t1"],
        splits=["test"],
        settings=other,
    )
    for cell in again.cells:
        for a, b in zip(
            results.read_predictions(cell.id.path(out)),
            results.read_predictions(cell.id.path(tmp_path)),
            strict=True,
        ):
            assert a["prediction"] == b["prediction"]
            for name, scores in a.get("scores", {}).items():
                assert scores == pytest.approx(b["scores"][name], abs=1e-4)
    stored = {c.id: c for c in evaluation.cells}
    assert all(stored[c.id].metrics == c.metrics for c in again.cells)


def test_verbalizers_of_a_template_count_as_the_dataset_s_options(model, store, tmp_path):
    evaluation = evaluate(
        model, ["rte"], store, tmp_path, splits=["dev"], settings=SETTINGS, limit=2
    )
    templates = {t.id: t for t in load_templates("rte").forward}
    assert {c.id.template for c in evaluation.cells} == set(templates)
    worded = next(c for c in evaluation.cells if templates[c.id.template].options)
    rows = results.read_predictions(worded.id.path(tmp_path))
    assert rows[0]["options"] == list(templates[worded.id.template].options)
    assert rows[0]["prediction"] in ("yes", "no")
    assert rows[0]["references"][0] in ("yes", "no")


def test_baseline_mode(model, store, tmp_path):
    settings = dataclasses.replace(SETTINGS, mode=parse_mode("baseline"))
    evaluation = evaluate(
        model, ["rte", "natural_questions"], store, tmp_path, splits=["dev"], settings=settings
    )
    assert [c.id.template for c in evaluation.cells] == ["baseline", "baseline"]
    rows = results.read_predictions(evaluation.cells[0].id.path(tmp_path))
    assert rows[0]["options"] == list(load_templates("rte").baseline.options)
    with pytest.raises(ValueError, match="leave the templates out"):
        evaluate(model, ["rte"], store, tmp_path, templates=["t0"], settings=settings)


def test_few_shot_modes_draw_from_training_rows(model, store, tmp_path):
    mode = parse_mode("baseline_1shot")
    settings = dataclasses.replace(SETTINGS, mode=mode)
    options = {"splits": ["dev"], "limit": 2}
    one, other, same = (
        evaluate(
            model,
            ["rte", "natural_questions"],
            store,
            tmp_path / str(number),
            settings=dataclasses.replace(settings, seed=seed),
            **options,
        )
        for number, seed in enumerate((0, 1, 0))
    )
    assert [c.id.mode for c in one.cells] == ["baseline_1shot"] * 2
    assert [c.key for c in one.cells] == [c.key for c in same.cells]
    assert not {c.key for c in one.cells} & {c.key for c in other.cells}
    assert one.cells[0].details["exemplars"] == ["train-rows"]

    class NoTrain(DemoRows):
        def open(self, datasets, splits):
            return {k: v for k, v in super().open(datasets, splits).items() if k[2] != "train"}

    with pytest.raises(ValueError, match="rte has no training rows"):
        evaluate(model, ["rte"], NoTrain(), tmp_path / "none", settings=settings, **options)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["rtee"], {}, "Did you mean 'rte'"),
        (["nly"], {}, "Did you mean 'nli'"),
        ([], {}, "no datasets"),
        (["rte"], {"templates": ["t77"]}, "unknown template of rte 't77'"),
        (["rte"], {"splits": ["tset"]}, "Did you mean 'test'"),
        (["rte"], {"splits": []}, "no splits"),
        (["rte"], {"limit": 0}, "limit of 0"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(model, store, tmp_path, names, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(model, names, store, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_inverted_templates_alone_are_refused(model, store, tmp_path):
    for name in ("rte", "natural_questions", "squad", "sst2"):
        inverted = [t.id for t in load_templates(name).templates if t.kind == "inverted"]
        if inverted:
            break
    with pytest.raises(ValueError, match="inverted"):
        evaluate(model, [name], store, tmp_path, templates=inverted)


def test_a_limit_is_spread_over_the_rows():
    assert list(spread(10, 4)) == [0, 2, 5, 7]
    assert list(spread(3, 5)) == [0, 1, 2]
    assert list(spread(3, None)) == [0, 1, 2]
    assert len(set(spread(1000, 999))) == 999
