"""Gin at the edge: files, bindings, types, messages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import gin
import pytest

from flan import gin_edge
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A configurable with a setting of each kind."""

    size: float
    spokes: int = 32
    name: str | None = None
    tubeless: bool = False
    mesh: MeshConfig | None = None
    sizes: dict[str, int] | None = None
    teeth: Sequence[int | None] = (9,)


CONFIGURABLES = gin_edge.register(
    {"Wheel": Wheel, "MeshConfig": MeshConfig, "ModelConfig": ModelConfig}
)
FILE = """
SIZE = 28
NAME = %gin.REQUIRED
Wheel.size = %SIZE
Wheel.name = %NAME
"""


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    gin.clear_config()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "wheel.gin"
    path.write_text(FILE)
    return str(path)


def wheel(file, *bindings) -> Wheel:
    gin_edge.parse([file], bindings)
    return gin_edge.build(CONFIGURABLES["Wheel"])


def test_files_and_bindings_make_plain_objects(file):
    made = wheel(file, "NAME='front'", "Wheel.spokes=24", "Wheel.mesh=@MeshConfig()")
    assert made == Wheel(28, 24, "front", mesh=MeshConfig())
    assert type(made) is Wheel
    assert type(made.mesh) is MeshConfig


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("/tmp/a b/run-1", "/tmp/a b/run-1"),
        ("front", "front"),
        ("'quoted'", "quoted"),
        ('"it\'s"', "it's"),
        ("it's", "it's"),
        ("a=b", "a=b"),
        ("C:\\new", "C:\\new"),
        ("gs://bucket/x", "gs://bucket/x"),
        ("None", None),
        ("", ""),
        ("1e", "1e"),
        ("a # b", "a # b"),
        ("2024-run", "2024-run"),
        ("[draft", "[draft"),
        ("[draft] 2", "[draft] 2"),
    ],
)
def test_strings_need_no_quotes(file, written, value):
    assert wheel(file, f"NAME={written}").name == value


def test_literals_stay_what_they_are(file):
    made = wheel(
        file,
        "NAME=x",
        "Wheel.sizes={'a': 1}",
        "Wheel.teeth=[1, None]",
        "Wheel.tubeless=True",
        "SIZE=%gin.REQUIRED",
        "SIZE=7",
    )
    assert (made.sizes, made.tubeless, made.size) == ({"a": 1}, True, 7)


def test_later_bindings_and_files_win(file, tmp_path):
    (tmp_path / "more.gin").write_text("SIZE = 20\nNAME = 'more'")
    gin_edge.parse([file, str(tmp_path / "more.gin")], ["SIZE=21", "SIZE=22"])
    assert gin_edge.build(CONFIGURABLES["Wheel"]) == Wheel(22, name="more")


def test_nothing_is_left_of_an_earlier_parse(file):
    wheel(file, "NAME=x", "Wheel.spokes=1")
    assert wheel(file, "NAME=y").spokes == 32


def test_a_required_setting_is_asked_for_by_name(file):
    with pytest.raises(ValueError, match=r"^NAME must be set: add --gin\.NAME=VALUE$"):
        wheel(file)


def test_a_missing_argument_is_named(tmp_path):
    (tmp_path / "empty.gin").write_text("")
    with pytest.raises(ValueError, match="size"):
        wheel(str(tmp_path / "empty.gin"))


@pytest.mark.parametrize(
    ("binding", "told"),
    [
        ("SIZ=1", "unknown setting 'SIZ'. Did you mean 'SIZE'"),
        ("Wheel.spoke=1", "unknown setting of Wheel 'spoke'. Did you mean 'spokes'"),
        ("Weel.spokes=1", "unknown configurable 'Weel'. Did you mean 'Wheel'"),
        ("SIZE", "'SIZE' is not of the form NAME=VALUE"),
        ("=3", "'=3' is not of the form NAME=VALUE"),
        ("SI ZE=3", "not of the form NAME=VALUE"),
        ("import os\nSIZE=3", "not of the form NAME=VALUE"),
        ("SIZE=big", "Wheel.size must be float or int, got 'big'"),
        ("Wheel.spokes=2.5", "Wheel.spokes must be int, got 2.5"),
        ("Wheel.spokes=True", "Wheel.spokes must be int, got True"),
        ("Wheel.spokes=None", "Wheel.spokes must be int, got None"),
        ("NAME=5", "Wheel.name must be str or None, got 5"),
        ("Wheel.tubeless=1", "Wheel.tubeless must be bool, got 1"),
        ("Wheel.teeth=3", "Wheel.teeth must be a list of int or None, got 3"),
        ("Wheel.teeth='12'", "Wheel.teeth must be a list of int or None, got '12'"),
        ("Wheel.teeth=[1.5]", "Wheel.teeth must be a list of int or None, got [1.5]"),
        ("Wheel.teeth=['1']", "Wheel.teeth must be a list of int or None, got ['1']"),
        ("Wheel.teeth=None", "Wheel.teeth must be a list of int or None, got None"),
        ("Wheel.sizes=['a']", "Wheel.sizes must be a dict of str to int or None, got ['a']"),
        ("Wheel.sizes={'a': 'b'}", "Wheel.sizes must be a dict of str to int or None"),
        ("SIZE=%SIZZE", "unknown setting 'SIZZE'. Did you mean 'SIZE'"),
        ("Wheel.mesh=@MeshConfg()", "MeshConfg"),
        ("Wheel.spokes=%gin.REQUIRED", "Wheel.spokes must be set: add --gin.Wheel.spokes=VALUE"),
        ("Wheel.mesh=big", "Wheel.mesh must be MeshConfig or None, got 'big'"),
    ],
)
def test_mistakes_in_bindings(file, binding, told):
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        wheel(file, "NAME=x", binding)
    assert "\n" not in str(caught.value)


def test_mistakes_of_a_nested_object_are_told_plainly(file):
    gin_edge.parse([file], ["NAME=x", *(f"ModelConfig.{n}={v}" for n, v in MODEL.items())])
    with pytest.raises(ValueError, match=r"^num_layers must be 1 or more, got 0$"):
        gin_edge.build(CONFIGURABLES["ModelConfig"])


MODEL = {"vocab_size": 8, "num_layers": 0, "d_model": 8, "num_heads": 1, "d_head": 8, "d_ff": 8}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Wheel.size = ", "line 1"),
        ("Wheel.size = 3\nWheel.oops = 4", "oops"),
        ("Wheel.mesh = @Nothing()", "Nothing"),
        ("include 'nowhere.gin'", "nowhere.gin"),
    ],
)
def test_mistakes_in_files(tmp_path, text, told):
    path = tmp_path / "bad.gin"
    path.write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        wheel(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_file_names_near_ones():
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'configs/runs/finetune.gin'"):
        gin_edge.parse(["configs/runs/fintune.gin"], [])


@pytest.mark.parametrize("name", ["configs/models/tiny.gin", "models/tiny.gin"])
def test_shipped_files_are_found_from_any_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    gin_edge.parse([name], ["ModelConfig.vocab_size=64"])
    assert gin_edge.build(CONFIGURABLES["ModelConfig"]).num_layers == 4


def test_files_include_their_neighbours_and_shipped_ones(tmp_path, monkeypatch, file):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "run.gin").write_text(
        "include 'part.gin'\ninclude 'configs/models/tiny.gin'\nModelConfig.d_ff = 48"
    )
    (folder / "part.gin").write_text("ModelConfig.vocab_size = 32")
    monkeypatch.chdir(tmp_path / "mine" / "..")
    gin_edge.parse([str(folder / "run.gin")], [])
    made = gin_edge.build(CONFIGURABLES["ModelConfig"])
    assert (made.vocab_size, made.d_ff, made.d_model) == (32, 48, 128)


def test_the_operative_config_says_it_all_again(file, tmp_path):
    made = wheel(file, "NAME=/a/b", "Wheel.sizes={'a': 1}")
    (tmp_path / "again.gin").write_text(gin_edge.operative_config())
    assert wheel(str(tmp_path / "again.gin")) == made


def test_settings_of_what_is_not_called_are_told_and_count_as_used(tmp_path):
    path = tmp_path / "model.gin"
    path.write_text("RATE = 0.5\nModelConfig.d_ff = 8\nModelConfig.dropout_rate = %RATE")
    gin_edge.parse([str(path)], ["ModelConfig.d_model=16", "RATE=0.25"])
    found = gin_edge.settings_of("ModelConfig", ["dropout_rate", "dtype"])
    assert found == {"dropout_rate": 0.25, "d_model": 16}
    assert "ModelConfig.dropout_rate = 0.25" in gin_edge.operative_config()
    assert "d_ff" not in gin_edge.operative_config()
    gin_edge.parse([str(path)], ["ModelConfig.dropout_rate=high"])
    with pytest.raises(ValueError, match="dropout_rate must be float or int, got 'high'"):
        gin_edge.settings_of("ModelConfig", ["dropout_rate"])


def test_registering_again_gives_the_same(file):
    assert gin_edge.register({"Wheel": Wheel})["Wheel"] is CONFIGURABLES["Wheel"]


def test_t5x_flags_become_bindings():
    argv = ["--gin_file=a", "--gin.A=1", "--gin.B", "2", "--x", "--gin.C.d={'e': 'f=g'}"]
    assert gin_edge.split_bindings(argv) == [
        *("--gin_file=a", "--gin_bindings", "A=1", "--gin_bindings", "B=2", "--x"),
        *("--gin_bindings", "C.d={'e': 'f=g'}"),
    ]
    with pytest.raises(ValueError, match=r"--gin\.A lacks a value"):
        gin_edge.split_bindings(["--gin.A"])
