"""`flan plan` as a user calls it."""

from __future__ import annotations

import json

import gin
import pytest

from flan.cli.main import main

SMALL = (
    "--gin_file=configs/runs/finetune.gin",
    "--gin_file=configs/models/tiny.gin",
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 48, 'targets': 16}",
    "--gin.ModelConfig.vocab_size=256",
    "--gin.ModelConfig.num_layers=2",
    "--gin.TRAIN_STEPS=1000",
)


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    gin.clear_config()


def test_a_plan_for_virtual_devices(capsys, tmp_path):
    file = tmp_path / "new" / "plan.json"
    code = main(
        [
            "plan",
            *SMALL,
            "--topology=cpu:8",
            "--gin.MeshConfig.model=2",
            "--gin.ModelConfig.remat=full",
            "--json",
            str(file),
        ]
    )
    assert code == 0
    printed = capsys.readouterr().out
    assert "mesh 4 x 1 x 2" in printed
    assert "of 8 x parameters x tokens" in printed
    assert "no figures of this device" in printed
    report = json.loads(file.read_text())
    assert report["mesh"] == {"data": 4, "fsdp": 1, "model": 2}
    assert report["steps"] == 1000
    assert report["max_targets"] == 64  # 16 targets, in steps of 64, at most a row
    assert report["step_flops"] == pytest.approx(report["model_flops"], rel=0.02)
    assert report["memory_bytes"]["total"] > report["memory_bytes"]["parameters"] > 0
    assert set(report["device_sent_bytes"]) & {"all-reduce", "reduce-scatter"}
    assert list(tmp_path.iterdir()) == [file.parent]  # no model folder


def test_a_search_prints_what_it_tried_and_the_settings_of_the_best(capsys):
    code = main(
        ["plan", *SMALL, "--topology=cpu:2", "--search", "--max_candidates=1", "--gin.BATCH_SIZE=2"]
    )
    assert code == 0
    printed = capsys.readouterr().out
    assert "1 compiled, 0 too large before compiling" in printed
    assert "fastest that fits: --gin.MeshConfig.data=" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--topology=v9-8",), "unknown topology 'v9-8'"),
        (("--topology=cpu:8", "--gin.MeshConfig.model=3"), "groups of 3"),
        (("--topology=cpu", "--gin.BATCH_SIZE=0"), "BATCH_SIZE must be 1 or more, got 0"),
        (("--topology=cpu", "--gin.StepConfig.microbatches=0"), "or more, got 0"),
        (("--topology=cpu", "--price=nan"), "--price must be 0 or more, and finite, got nan"),
        (("--topology=cpu:8", "--gin.BATCH_SIZE=6"), "6 rows cannot be split over 8 devices"),
        (("--topology=cpu:8", "--gin.MODEL=None"), "--gin_file=configs/models/SIZE.gin"),
        (("--topology=cpu:8", "--efficiency=0"), "--efficiency must be above 0"),
        (("--topology=cpu:8", "--price=-1"), "--price must be 0 or more"),
        (("--topology=cpu:8", "--gin.NO_SUCH=1"), "unknown setting 'NO_SUCH'"),
    ],
)
def test_mistakes_end_with_2_and_one_line(capsys, arguments, message):
    assert main(["plan", *SMALL, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
