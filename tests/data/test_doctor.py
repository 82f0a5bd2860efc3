import dataclasses
import json

import pytest

from flan.catalog import EXTRA, all_datasets, get_dataset, get_datasets
from flan.data.doctor import (
    blocking,
    compare_specs,
    diagnose,
    expected_spec,
)
from flan.testing.tfds_folder import write_description

RTE = get_dataset("rte").sources[0]
SIZES = {"train": 100, "validation": 20, "test": 10}


def one(folder, name="rte"):
    (diagnosis,) = diagnose(folder, [name])
    return diagnosis


def test_ready(tmp_path):
    write_description(tmp_path, RTE, SIZES)
    diagnosis = one(tmp_path)
    assert (diagnosis.state, diagnosis.remedy, diagnosis.sizes) == ("ready", "", SIZES)


def test_missing(tmp_path):
    diagnosis = one(tmp_path)
    assert diagnosis.state == "missing"
    assert diagnosis.remedy == f"tfds build super_glue/rte:1.0.2 --data_dir={tmp_path}"


def test_manual_download_says_how(tmp_path):
    diagnosis = one(tmp_path, "story_cloze")
    assert diagnosis.state == "manual download"
    assert get_dataset("story_cloze").sources[0].manual in diagnosis.remedy
    assert "--manual_dir" in diagnosis.remedy


def test_wrong_version(tmp_path):
    write_description(tmp_path, dataclasses.replace(RTE, version="1.0.0"), SIZES)
    diagnosis = one(tmp_path)
    assert (diagnosis.state, diagnosis.detail) == ("wrong version", "found 1.0.0, needs 1.0.2")


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"premise": None}, "lacks 'premise'"),
        ({"extra": "string"}, "has 'extra', which is not expected"),
        ({"premise": "int32"}, "'premise' is int32, expected string"),
        (
            {"label": ["not_entailment", "entailment"]},
            "'label' is classes not_entailment, entailment, expected classes entailment, not_entailment",
        ),
    ],
)
def test_schema_differs(tmp_path, change, detail):
    spec = {**expected_spec(RTE.tfds), **change}
    write_description(tmp_path, RTE, SIZES, {k: v for k, v in spec.items() if v is not None})
    diagnosis = one(tmp_path)
    assert (diagnosis.state, diagnosis.detail) == ("schema differs", detail)


def test_incomplete(tmp_path):
    path = write_description(tmp_path, RTE, SIZES)
    shard = path / "super_glue-train.tfrecord-00000-of-00001"
    shard.unlink()
    diagnosis = one(tmp_path)
    assert (diagnosis.state, diagnosis.detail) == ("incomplete", f"lacks {shard.name} (1 files)")
    shard.touch()
    (path / "features.json").unlink()
    assert one(tmp_path).state == "incomplete"
    (path / "dataset_info.json").write_text("{", encoding="utf-8")
    assert one(tmp_path).state == "incomplete"


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({"fileFormat": "array_record"}, r"super_glue-train.array_record-00000-of-00001"),
        ({"name": "../../x"}, "files of a naming"),
        ({"filepathTemplate": "{SPLIT}-{SHARD}"}, "files of a naming"),
    ],
)
def test_files_of_another_format_or_naming(tmp_path, changes, stored):
    """What `flan prepare` would refuse is not called ready."""
    path = write_description(tmp_path, RTE, SIZES)
    info = json.loads((path / "dataset_info.json").read_text())
    for split in info["splits"]:
        split.update({k: v for k, v in changes.items() if k == "filepathTemplate"})
    info.update({k: v for k, v in changes.items() if k != "filepathTemplate"})
    (path / "dataset_info.json").write_text(json.dumps(info))
    for file in path.glob("*.tfrecord*"):
        file.with_name(file.name.replace("tfrecord", "array_record")).touch()
    diagnosis = one(tmp_path)
    assert diagnosis.state == "other format"
    assert stored in diagnosis.detail
    assert diagnosis.remedy.endswith("--overwrite --file_format=tfrecord")
    assert blocking("rte", [diagnosis]) == [diagnosis]


def test_an_old_form_is_called_that(tmp_path):
    path = write_description(tmp_path, RTE, SIZES)
    info = json.loads((path / "dataset_info.json").read_text())
    for split in info["splits"]:
        (count,) = split.pop("shardLengths")
        split.update(numShards="1", statistics={"numExamples": count})
    (path / "dataset_info.json").write_text(json.dumps(info))
    diagnosis = one(tmp_path)
    assert diagnosis.state == "incomplete"
    assert "has no shardLengths, so an old version of TFDS wrote it" in diagnosis.detail
    assert diagnosis.remedy.endswith("--overwrite")


def test_a_split_is_missing(tmp_path):
    write_description(tmp_path, RTE, {"train": 100})
    assert one(tmp_path).detail == "has no split 'validation'; it has ['train']"


def test_too_small(tmp_path):
    write_description(tmp_path, RTE, {"train": 1, "validation": 20, "test": 1})
    diagnosis = one(tmp_path)
    assert diagnosis.state == "too small"
    assert diagnosis.detail.endswith("for dev")


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data folder"):
        diagnose(tmp_path / "none", ["rte"])


def test_a_mixture_is_blocked_by_what_trains_in_it(tmp_path):
    for source in get_dataset("wsc").sources:
        if source.train:
            write_description(tmp_path, source, SIZES)
    diagnoses = diagnose(tmp_path, ["coreference"])
    assert {d.tfds_name for d in diagnoses if d.dataset == "wsc" and d.state != "ready"} == {
        "wsc273:1.0.0"
    }
    assert blocking("wsc", diagnoses) == []  # wsc273 only evaluates
    assert {d.dataset for d in blocking("coreference", diagnoses)} == {
        "definite_pronoun_resolution",
        "winogrande",
    }


def test_every_source_of_the_catalog_has_a_spec():
    sources = [s for d in get_datasets([*all_datasets(), *EXTRA]) for s in d.sources]
    assert [s.tfds for s in sources if expected_spec(s.tfds) is None] == []


def test_equal_specs_do_not_differ():
    spec = expected_spec("trec")
    assert compare_specs(spec, dict(spec)) == []
