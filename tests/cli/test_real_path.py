"""prepare, train and eval on real TFDS data: a small model, NLI held out."""

from __future__ import annotations

import json

import pytest

from flan.cli.main import main
from flan.training.metrics import read_metrics

TINY = [
    *("--gin.ModelConfig.num_layers=1", "--gin.ModelConfig.d_model=32"),
    *("--gin.ModelConfig.num_heads=2", "--gin.ModelConfig.d_head=16", "--gin.ModelConfig.d_ff=64"),
]


@pytest.mark.slow
@pytest.mark.real_data
def test_a_leave_nli_out_run_on_real_rows(real_data, tmp_path, capsys):
    common = ["--data_dir", str(real_data), "--cache_dir", str(tmp_path / "caches")]
    # One dataset of each cluster that may train.
    mixture = "copa,sst2,arc,e2e_nlg,wmt16_roen,bool_q,cosmos_qa,winogrande,wic,xsum"
    assert main(["prepare", "--datasets", mixture, "--splits", "train", *common]) == 0
    model = tmp_path / "model"
    settings = {
        "MIXTURE_OR_TASK_NAME": mixture,
        "TASK_FEATURE_LENGTHS": "{'inputs': 192, 'targets': 64}",
        "TRAIN_STEPS": "30",
        "LEARNING_RATE": "0.02",
        "OptimizerConfig.scale_by_parameters": "True",
        "RENDERINGS": "1",
        "InstructionData.vocab_size": "2000",
    }
    flags = [f"--gin.{name}={value}" for name, value in settings.items()]
    command = ["train", "--gin_file=configs/runs/finetune.gin", *flags, *TINY]
    assert main([*command, "--model_dir", str(model), *common]) == 0
    losses = [line["loss"] for line in read_metrics(model / "metrics.jsonl")]
    assert losses[-1] < 0.85 * losses[0]
    receipt = json.loads((model / "receipt.json").read_text())
    assert all(line["kept"] > 300 for line in receipt["lines"])

    out = tmp_path / "results"
    command = ["eval", str(model), "--name", "tuned", "--datasets", "nli", "--out", str(out)]
    command += ["--templates", "t0,t1", "--limit", "4", "--splits", "test", *common]
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    (summary,) = json.loads(capsys.readouterr().out)
    nli = summary["modes"]["instructions"]["datasets"]
    assert set(nli) == {"anli", "cb", "mnli", "qnli", "rte", "snli", "wnli"}
