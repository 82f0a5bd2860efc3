import csv
import html.parser
import io
import json
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from flan.cli.main import main
from flan.data.receipt import Receipt, ReceiptLine
from flan.evaluation.summary import write_summary
from flan.reports.comparison import compare
from flan.reports.html import Run, render_page
from flan.reports.ink import PAPER, to_png, to_svg
from flan.reports.plots import cluster_bars, loss_curve
from flan.reports.table import table_columns, table_rows, to_csv
from flan.reports.write import read_run

EVIL = '<script>alert("1")</script>'
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = [], [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def with_evil_names(results):
    """The results' summary alone, with a script in the names of everything."""
    summary = write_summary(results)
    text = json.dumps(summary)
    for name in ("rte", "tuned", "nli", "accuracy", "t3"):
        text = text.replace(f'"{name}"', json.dumps(f"{name}{EVIL}&$x_1$"))
    folder = results.parent / "evil"
    folder.mkdir()
    (folder / "summary.json").write_text(text)
    return folder


def test_table_rows(results):
    comparison = compare([results], held_out=["nli"])
    columns, rows = table_columns(comparison), table_rows(comparison)
    assert columns == ("dataset", "metric", "base", "best dev", "tuned", "best dev", "gain")
    assert all(len(row) == len(columns) for row in rows)
    assert rows[0][0] == "nli (held out)"
    assert [row[0] for row in rows[1:4]] == ["  anli", "  cb", "  rte"]
    line = next(line for line in comparison.groups[0].datasets if line.name == "rte")
    base, tuned = line.scores
    assert rows[3] == (
        "  rte",
        "accuracy",
        f"{base.mean:.1f} ± {base.std:.1f}",
        f"{base.best:.1f} ({base.best_template}, {base.chosen_again:.0%})",
        f"{tuned.mean:.1f} ± {tuned.std:.1f}",
        f"{tuned.best:.1f} ({tuned.best_template}, {tuned.chosen_again:.0%})",
        f"{tuned.mean - base.mean:+.1f}",
    )


def test_csv_has_every_score_in_full(results):
    comparison = compare([results], held_out=["nli"])
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert len(rows) == 7 * 2
    row = next(r for r in rows if (r["dataset"], r["checkpoint"]) == ("rte", "tuned"))
    score = comparison.groups[0].datasets[2].scores[1]
    assert float(row["mean"]) == score.mean
    assert float(row["best_dev_test"]) == score.best
    assert (row["held_out"], row["step"], row["rows"], row["templates"]) == (
        "yes",
        "2000",
        "200",
        "4",
    )


def test_csv_holds_no_formulas(results):
    summary = json.dumps(write_summary(results)).replace('"rte"', '"=HYPERLINK(1)"')
    alone = results.parent / "alone"
    alone.mkdir()
    (alone / "summary.json").write_text(summary)
    names = {r["dataset"] for r in csv.DictReader(io.StringIO(to_csv(compare([alone]))))}
    assert "'=HYPERLINK(1)" in names


def test_page_shows_every_dataset_and_asks_nothing_of_the_network(results, model_dir):
    page = render_page(compare([results]), [read_run(model_dir)], "Tuned & held out")
    parsed = Page(page)
    for name in ("rte", "anli", "squad", "wmt16_roen"):
        assert name in parsed.texts
    assert "Tuned & held out" in parsed.texts
    assert parsed.tags.count("svg") == 3  # clusters, before and after, loss
    assert not {"script", "link", "iframe", "img", "object", "form"} & set(parsed.tags)
    links = [v for k, v in parsed.attributes if k in ("href", "src", "xlink:href")]
    assert all(link.startswith("#") for link in links)
    assert "url(http" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_everything_from_data_is_escaped(results):
    comparison = compare([with_evil_names(results)])
    lines = (ReceiptLine(f"rte{EVIL}", 1, 1, 1, 1, 1.0, 0, 1.0),)
    run = Run(EVIL, [(1, 2.0), (2, 1.0)], Receipt(1, 1, 1, lines))
    page = render_page(comparison, [run, Run(f"other{EVIL}", [(1, 1.0)])], EVIL)
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    text = "\n".join(parsed.texts)
    for name in ("rte", "tuned", "nli", "accuracy", "t3"):
        assert f"{name}{EVIL}&$x" in text
    assert any(EVIL in v for v in parsed.texts if v.startswith("other"))


def test_plots_are_xml_in_the_pages_colours(results):
    comparison = compare([results])
    losses = {"a": [(1, 3.0), (2, 2.0)], "b": [(1, 1.0)]}
    for figure in (cluster_bars(comparison), loss_curve(losses)):
        svg = to_svg(figure)
        root = xml.etree.ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "var(--text)" in svg or "var(--muted)" in svg
        assert "#fe00" not in svg
        assert "#fd00" not in svg
        assert "#000000" not in svg
    page = render_page(comparison)
    for variable in ("--text", "--muted", "--line", *(f"--series-{i}" for i in range(1, 7))):
        assert page.count(f"{variable}:") == 2  # light and dark


def test_plots_do_not_change_between_runs(results):
    comparison = compare([results])
    assert to_svg(cluster_bars(comparison)) == to_svg(cluster_bars(comparison))
    alone = cluster_bars(comparison, PAPER)
    assert to_svg(alone, PAPER).startswith("<?xml")
    assert "var(" not in to_svg(alone, PAPER)
    assert to_png(alone).startswith(b"\x89PNG")


def test_bars_carry_the_means(results):
    comparison = compare([results])
    svg = to_svg(cluster_bars(comparison))
    for group in comparison.groups:
        for score in group.cluster.scores:
            assert f">{score.mean:.1f}<" in svg


def test_a_single_checkpoint_and_a_single_template(tmp_path, write_results):
    folder = write_results(tmp_path / "r", {"a": (50, 1)}, datasets={"cb": ("nli", ("cb",), "f1")})
    for path in folder.glob("a/*/*/*/*-t[123].json"):
        path.unlink()
    comparison = compare([folder])
    assert table_columns(comparison) == ("dataset", "metric", "a", "best dev")
    assert "±" not in table_rows(comparison)[1][2]
    assert "gain" not in Page(render_page(comparison)).texts


def test_run_of_a_model_folder(model_dir):
    lines = (ReceiptLine("cb", 250, 250, 200, 200, 1.0, 0, 9.5),)
    receipt = Receipt(30_000, 3_000, 5, lines)
    (model_dir / "receipt.json").write_text(json.dumps(receipt.to_json()))
    with (model_dir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 401, "loss": NaN}\n{"step": 406, "lo')
    run = read_run(model_dir)
    assert (run.name, len(run.losses), run.losses[0]) == ("no_nli", 80, (1, 9 / 1.01))
    assert run.receipt == receipt
    assert read_run(model_dir / "metrics.jsonl") == run


def test_damaged_model_folders(model_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match="model folder"):
        read_run(tmp_path / "nowhere")
    metrics = model_dir / "metrics.jsonl"
    for line in ("nonsense", '{"loss": 1}', '{"step": 1, "loss": "low"}', "[]", "3"):
        metrics.write_text(f'{line}\n{{"step": 2, "loss": 1.0}}\n')
        with pytest.raises(ValueError, match="line 1"):
            read_run(model_dir)
    metrics.unlink()
    (model_dir / "receipt.json").write_text('{"lines": 3}')
    with pytest.raises(ValueError, match=r"receipt\.json"):
        read_run(model_dir)


def test_command(results, model_dir, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--held_out", "nli", "--model_dir", str(model_dir), "--out", str(out)]
    assert main(["report", str(results), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "nli (held out)" in printed
    assert str(out / "report.html") in printed
    assert "Training loss" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "report.csv").read_text(encoding="utf-8").startswith("cluster,dataset")


def test_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "no results at" in capsys.readouterr().err


def test_reports_import_neither_tensorflow_nor_jax():
    code = (
        "import sys, flan.reports.write, flan.reports.comparison, flan.data.loader, flan.data.text\n"
        "loaded = {'tensorflow', 'jax', 'seqio', 'tensorflow_datasets', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
