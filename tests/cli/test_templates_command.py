import json

import pytest

from flan.cli.main import main
from flan.resources import resource_dir
from flan.templates.lint import RULES


@pytest.fixture
def planted(tmp_path):
    """A templates folder with RTE's file, in which one template has a stray letter."""
    text = (resource_dir("templates") / "nli" / "rte.yaml").read_text(encoding="utf-8")
    assert "{hypothesis}\n" in text
    (tmp_path / "nli").mkdir()
    (tmp_path / "nli" / "rte.yaml").write_text(
        text.replace("{hypothesis}\n\n", "{hypothesis}n\n\n", 1), encoding="utf-8"
    )
    return tmp_path


def test_a_clean_dataset(capsys):
    assert main(["templates", "check", "rte"]) == 0
    assert "0 findings in 10 templates of 1 datasets" in capsys.readouterr().err


def test_findings_in_a_table(planted, capsys):
    assert main(["templates", "check", "rte", "--templates", str(planted)]) == 1
    out = capsys.readouterr().out
    assert "glued-hole" in out
    assert "{…}n" in out


def test_findings_as_json(planted, capsys):
    assert main(["templates", "check", "rte", "--json", "--templates", str(planted)]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert {"dataset", "template", "rule", "message"} == findings[0].keys()
    assert "glued-hole" in {f["rule"] for f in findings}


def test_a_file_that_cannot_be_read_is_a_finding(planted, capsys):
    (planted / "nli" / "rte.yaml").write_text("dataset: rte\n", encoding="utf-8")
    assert main(["templates", "check", "rte", "cb", "--json", "--templates", str(planted)]) == 1
    rules = [(f["dataset"], f["rule"]) for f in json.loads(capsys.readouterr().out)]
    assert rules == [("rte", "unreadable"), ("cb", "unreadable")]


def test_an_unknown_name(capsys):
    assert main(["templates", "check", "rtee"]) == 2
    assert "'rte'" in capsys.readouterr().err


def test_the_rules_are_listed(capsys):
    assert main(["templates", "rules"]) == 0
    out = capsys.readouterr().out
    assert all(rule in out for rule in RULES)


@pytest.mark.real_data
def test_on_real_rows(real_data, capsys):
    assert main(["templates", "check", "nli", "--data_dir", str(real_data)]) == 0
    assert main(["templates", "check", "nli", "--data_dir", str(real_data / "none")]) == 2
