import json

import pytest

from flan.catalog import EXTRA, all_datasets, get_dataset
from flan.cli.main import main
from flan.testing.tfds_folder import write_description

SIZES = {"train": 1000, "validation": 200, "test": 10}


@pytest.fixture
def data_dir(tmp_path):
    write_description(tmp_path, get_dataset("rte").sources[0], SIZES)
    return tmp_path


def test_datasets_table(data_dir, capsys):
    assert main(["datasets", "nli", "--data_dir", str(data_dir)]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "super_glue/rte:1.0.2" in line)
    assert "train 2,490, validation 277, test 3,000" in line  # official
    assert "train 1,000, validation 200, test 10" in line  # on disk
    assert "accuracy" in line
    assert "7 datasets; 1 of" in out


def test_datasets_json(data_dir, capsys):
    assert main(["datasets", "--json", "--data_dir", str(data_dir)]) == 0
    entries = {entry["dataset"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(entries) == [*all_datasets(), *EXTRA]
    source = entries["rte"]["sources"][0]
    assert source["slices"] == {
        "train": "train[0:800]",
        "dev": "train[800:1000]",
        "test": "validation[0:200]",
    }
    assert source["official_slices"]["train"] == "train[0:2290]"
    assert entries["rte"]["cluster"] == "nli"
    assert entries["cb"]["sources"][0]["on_disk"] is False


def test_datasets_of_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["datasets", "--data_dir", str(tmp_path / "none")]) == 2
    assert "no data folder" in capsys.readouterr().err


def test_doctor_says_how_to_get_what_is_missing(data_dir, capsys):
    assert main(["doctor", "rte", "cb", "--data_dir", str(data_dir)]) == 0
    out = capsys.readouterr().out
    assert "tfds build super_glue/cb:1.0.2" in out
    assert "1 ready, 1 missing" in out


@pytest.mark.parametrize(
    ("mixture", "code", "says"),
    [
        ("rte", 0, "rte can be built"),
        ("flan_rte", 0, "flan_rte can be built"),
        ("nli", 1, "nli cannot be built: anli, cb"),
        ("flan_loo_nli", 1, "flan_loo_nli cannot be built: aeslc"),
    ],
)
def test_doctor_fails_for_a_mixture_that_cannot_be_built(data_dir, capsys, mixture, code, says):
    assert main(["doctor", "--mixture", mixture, "--data_dir", str(data_dir)]) == code
    assert says in capsys.readouterr().out


def test_doctor_json(data_dir, capsys):
    assert main(["doctor", "--mixture", "nli", "--json", "--data_dir", str(data_dir)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["mixtures"]["nli"]["can_be_built"] is False
    assert "rte" not in report["mixtures"]["nli"]["blocked_by"]
    assert {source["state"] for source in report["sources"]} == {"ready", "missing"}


def test_doctor_refuses_unknown_mixtures(data_dir, capsys):
    assert main(["doctor", "--mixture", "flan_lo_nli", "--data_dir", str(data_dir)]) == 2
    assert "flan_loo_nli" in capsys.readouterr().err
