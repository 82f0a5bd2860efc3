"""`flan convert`: refusals before any work, and records of training data that travel along."""

from __future__ import annotations

import dataclasses
import json

import pytest
from foreign_models import LLAMA, random_parameters, write_hugging_face

from flan.checkpoints.foreign.detect import detect
from flan.checkpoints.record import record_files
from flan.cli.convert import parse_size
from flan.cli.main import main
from flan.data.training_record import RECORD_FILE, TrainingRecord, read_record

SMALL = dataclasses.replace(LLAMA, num_layers=1)
RECORD = TrainingRecord((), ("something",))


@pytest.fixture
def hugging_face(tmp_path):
    (tmp_path / "run").mkdir()
    return write_hugging_face(tmp_path / "run" / "model", SMALL, random_parameters(SMALL))


def write_record(folder):
    (folder / RECORD_FILE).write_text(json.dumps(RECORD.to_json()))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GiB", 5 * 2**30),
        ("5GB", 5 * 10**9),
        ("5 g", 5 * 10**9),
        ("1.5KiB", 1536),
        ("100", 100),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["9" * 400, "5T", "0.1", "-1", "big", "1e9", "5iB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="should be a size such as"):
        parse_size(text)


def test_a_link_that_leads_nowhere_is_refused_before_any_work(hugging_face, tmp_path, capsys):
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "nothing")
    assert main(["convert", str(hugging_face), str(link)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_record_comes_along_and_another_programs_file_does_not(hugging_face, tmp_path):
    write_record(hugging_face)
    assert main(["convert", str(hugging_face), str(tmp_path / "one")]) == 0
    assert read_record(tmp_path / "one") == RECORD
    for content in ('{"hello": 1}', "[", "[1]"):
        (hugging_face / RECORD_FILE).write_text(content)
        assert record_files(hugging_face, "hf") == {}


def test_a_damaged_record_is_refused_before_any_work(hugging_face, tmp_path, capsys):
    (hugging_face / RECORD_FILE).write_text(json.dumps({**RECORD.to_json(), "runs": 3}))
    assert main(["convert", str(hugging_face), str(tmp_path / "out")]) == 2
    assert RECORD_FILE in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_only_a_t5x_checkpoint_takes_the_record_of_the_folder_above(hugging_face):
    above = hugging_face.parent
    write_record(above)
    assert record_files(hugging_face, "hf") == {}
    (above / "model.gguf").write_bytes(b"")
    assert record_files(above / "model.gguf", "gguf") == {}
    for name, found in (("checkpoint_7", [RECORD_FILE]), ("other", [])):
        (above / name).mkdir()
        assert list(record_files(above / name, "t5x")) == found


def test_a_file_called_as_ours_makes_no_model_folder(hugging_face):
    (hugging_face / "model.json").write_text("{}")
    assert detect(hugging_face)[0] == "hf"
    (hugging_face / "checkpoints").mkdir()
    assert detect(hugging_face)[0] == "flan"
