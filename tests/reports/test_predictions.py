"""Predictions on the page, settings that differ, published scores, Markdown."""

import json
import shutil
import statistics

import pytest

from flan.catalog.dataset import Fields
from flan.cli.main import main
from flan.embedded import policy_hash
from flan.evaluation.results import load_cells, write_cell
from flan.evaluation.row_texts import read_texts, write_texts
from flan.evaluation.rows import Rows
from flan.reports import published
from flan.reports.comparison import compare, titles_of
from flan.reports.configs import differences, parse_config
from flan.reports.html import Run, render_page
from flan.reports.markdown import to_markdown
from flan.reports.predictions import ROWS, _right, collect, without_work

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture
def with_predictions(tmp_path, write_results):
    folder = write_results(
        tmp_path / "results",
        {"base": (40, 0), "tuned": (60, 9)},
        datasets={"rte": ("nli", ("rte",), "accuracy"), "squad": ("qa", ("squad",), "f1")},
    )
    for cell in load_cells(folder):
        ranked = cell.id.dataset == "rte"
        predictions = [
            {
                "row": row,
                "prediction": "yes" if ranked else f"an answer{EVIL}",
                "references": ["no" if row % 2 else "yes"],
                **({"label": row % 2, "choice": 0} if ranked else {}),
            }
            for row in range(30)
        ]
        write_cell(folder, cell, predictions)
    rows = Rows((0, 1), (Fields({"a": f"first {EVIL}", "b": "text"}, "x"), Fields({"a": "2"}, "y")))
    write_texts(folder, "rte", "rte", "test", rows)
    return folder


def test_any_right_option_is_right():
    record = {"label": 0, "choice": 1, "prediction": "Kari", "references": ["Dahl", "Kari"]}
    assert _right(record) == 1
    assert _right({**record, "prediction": "Ola"}) == 0


def gather(folder):
    comparison = compare([folder])
    titles = {(c.label, c.mode): c for c in comparison.columns}
    return comparison, without_work(collect([(folder, titles)], "test"))


def test_predictions_are_gathered_by_set_with_their_texts(with_predictions):
    _, found = gather(with_predictions)
    assert found["columns"] == ["base", "tuned"]
    rte, squad = found["sets"]
    assert (rte["dataset"], squad["dataset"]) == ("rte", "squad")
    assert rte["rows"][0]["text"] == f"first {EVIL}\ntext"
    assert len(rte["rows"]) == ROWS
    assert len(rte["answers"]) == 2 * 4 * ROWS  # checkpoints, templates
    right = {(place, verdict) for _, _, place, _, verdict in rte["answers"]}
    assert right == {(place, int(place % 2 == 0)) for place in range(ROWS)}
    assert {verdict for *_, verdict in squad["answers"]} == {None}
    assert found["left_out"] == 2 * 2 * 4 * 10


def test_the_page_lets_its_own_script_run_and_no_other(with_predictions):
    comparison, found = gather(with_predictions)
    page = render_page(comparison, predictions=found)
    assert page.count("<script") == page.count("</script>") == 2
    data, script = (part.partition("</script>")[0] for part in page.split("<script")[1:])
    assert json.loads(data.partition(">")[2]) == json.loads(json.dumps(found))
    assert f"script-src '{policy_hash(script.partition('>')[2])}'".replace("'", "&#39;") in page
    plain = render_page(comparison)
    assert "<script" not in plain
    assert "script-src" not in plain


def test_predictions_of_two_folders_stand_side_by_side(with_predictions, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(with_predictions, other)
    comparison = compare([with_predictions, other])
    sources = titles_of([with_predictions, other], comparison)
    found = without_work(collect(sources, "test"))
    assert found["columns"] == ["base", "tuned", "other/base", "other/tuned"]
    assert set(found["columns"]) == {column.title for column in comparison.columns}
    rte = found["sets"][0]
    assert {column for column, *_ in rte["answers"]} == {0, 1, 2, 3}
    assert len(rte["rows"]) == ROWS


def test_damaged_predictions_are_passed_over(with_predictions):
    for path in with_predictions.glob("base/*/rte/*/*.jsonl"):
        path.write_text('{"row": 1}\n[]\n')
    (path,) = with_predictions.glob("_rows/rte/*/*.jsonl")
    path.write_text("{")
    _, found = gather(with_predictions)
    (rte,) = (s for s in found["sets"] if s["dataset"] == "rte")
    assert {answer[0] for answer in rte["answers"]} == {1}
    assert {row["text"] for row in rte["rows"]} == {""}


def test_texts_of_more_rows_are_added(tmp_path):
    for ids in ((3, 1), (1, 2)):
        rows = Rows(ids, tuple(Fields({"a": f"row {i} " + "x" * 2000 * (i == 2)}, "") for i in ids))
        write_texts(tmp_path, "rte", "rte", "test", rows)
    found = read_texts(tmp_path, "rte", "rte", "test")
    assert list(found) == [1, 2, 3]
    assert len(found[2]) < 1600
    assert read_texts(tmp_path, "rte", "rte", "dev") == {}


def test_a_report_is_a_page_a_table_notes_and_figures(with_predictions, tmp_path, capsys):
    out = tmp_path / "report"
    assert main(["report", str(with_predictions), "--out", str(out), "--held_out", "nli"]) == 0
    assert {p.name for p in out.iterdir()} == {"report.html", "report.csv", "report.md", "figures"}
    names = {p.name for p in (out / "figures").iterdir()}
    assert names == {
        f"{n}.{kind}" for n in ("by_cluster", "held_out", "templates") for kind in ("svg", "png")
    }
    notes = (out / "report.md").read_text()
    assert "figures/by_cluster.png" in notes
    assert "| nli (held out) |" in notes
    assert "FLAN 137B" in notes


def test_markdown_holds_no_markup_of_data(with_predictions):
    comparison, _ = gather(with_predictions)
    runs = [Run("a|b", config={"X": "1"}), Run("c", config={"X": "<b>`2`"})]
    text = to_markdown(comparison, runs, "<img src=x> *t*", [], "figures")
    assert "# &lt;img src=x&gt; \\*t\\*" in text
    assert "| setting | a\\|b | c |" in text
    assert "| X | 1 | &lt;b&gt;\\`2\\` |" in text


CONFIG = """# Macros:
# ====
import flan.training.run
MODEL_DIR = '/a'
TRAIN_STEPS = 60

# Parameters for X:
X.names = \\
    ('one',
     'two')
X.rate = 0.5
"""


def test_settings_that_differ():
    first = parse_config(CONFIG)
    assert first == {
        "MODEL_DIR": "'/a'",
        "TRAIN_STEPS": "60",
        "X.names": "('one', 'two')",
        "X.rate": "0.5",
    }
    second = parse_config(CONFIG.replace("60", "80").replace("'/a'", "'/b'") + "Y.z = 1\n")
    assert differences({"a": first, "b": second}) == [
        ("TRAIN_STEPS", ["60", "80"]),
        ("Y.z", ["", "1"]),
    ]


def test_published_means_are_those_of_figure_1():
    datasets = published.by_dataset().scores
    assert "2109.01652" in published.by_dataset().source
    raw = published._content()["datasets"]["scores"]
    members = {
        "nli": ("anli", "cb", "rte"),
        "reading_comprehension": ("bool_q", "multirc", "openbookqa"),
        "closed_book_qa": ("arc", "natural_questions", "trivia_qa"),
    }
    for cluster, scores in published.by_cluster().scores.items():
        rows = [row for name in members[cluster] for row in raw[name]]
        for place, score in enumerate(scores):
            assert statistics.fmean(row[place] for row in rows) == pytest.approx(score, abs=0.051)
    assert datasets["anli"] == pytest.approx([34.833, 37.0, 46.2], abs=0.001)
    assert published.ablation("clusters").scores[7] == 63.5
    assert published.ablation("nothing") is None
