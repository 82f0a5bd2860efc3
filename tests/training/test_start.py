"""What a run starts from: the network that it is given, or takes."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from flan.checkpoints import layout
from flan.models.adapters import Lora
from flan.testing.tiny import TINY_MODEL
from flan.training.start import choose_model


@pytest.fixture
def base(tmp_path):
    (tmp_path / "base").mkdir()
    layout.write_model_config(tmp_path / "base", TINY_MODEL)
    return tmp_path / "base"


def test_runtime_settings_are_laid_over_a_checkpoints_network(base, tmp_path):
    over = {"dropout_rate": 0.1, "dtype": "bfloat16", "vocab_size": 0, "d_ff": TINY_MODEL.d_ff}
    found = choose_model(None, over, None, tmp_path / "run", base)
    assert found == dataclasses.replace(TINY_MODEL, dropout_rate=0.1, dtype="bfloat16")
    with pytest.raises(ValueError, match=r"ModelConfig.num_layers = 7 \(it has \d\), .*d_ff = 8"):
        choose_model(None, {"num_layers": 7, "d_ff": 8}, None, tmp_path / "run", base)
    with pytest.raises(ValueError, match="dtype must be one of"):
        choose_model(None, {"dtype": "float8"}, None, tmp_path / "run", base)


def test_a_run_that_goes_on_needs_no_initial_checkpoint_any_more(base, tmp_path):
    run = tmp_path / "run"
    lora = dataclasses.replace(TINY_MODEL, adapter=Lora(rank=2))
    run.mkdir()
    layout.write_model_config(run, lora)
    shutil.rmtree(base)
    with pytest.raises(FileNotFoundError, match=r"INITIAL_CHECKPOINT_PATH .*: no such folder"):
        choose_model(None, {}, lora.adapter, run, base)
    (run / layout.CHECKPOINTS / "4").mkdir(parents=True)
    assert choose_model(None, {}, lora.adapter, run, base) == lora
    fits = dataclasses.replace(TINY_MODEL, vocab_size=0)
    assert choose_model(fits, {}, lora.adapter, run, base) == lora
