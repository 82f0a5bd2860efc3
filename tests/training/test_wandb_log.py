"""Weights & Biases, with a module in its place."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from flan.checkpoints import layout
from flan.training.metrics import MetricsWriter
from flan.training.wandb_log import open_wandb


class FakeRun:
    def __init__(self):
        self.metrics, self.logged, self.finished = [], [], False

    def define_metric(self, *args, **settings):
        self.metrics.append((args, settings))

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.finished = True


@pytest.fixture
def runs(monkeypatch):
    """(settings, run) of each `wandb.init`."""
    begun = []

    def init(**settings):
        begun.append((settings, FakeRun()))
        return begun[-1][1]

    module = types.ModuleType("wandb")
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return begun


def test_metrics_go_to_one_run_over_all_resumes(tmp_path, runs):
    (tmp_path / layout.CONFIG_FILE).write_text("TRAIN_STEPS = 6")
    for start in (0, 2):
        writer = MetricsWriter(tmp_path, start, wandb=open_wandb("flan"))
        writer.write(start + 2, {"loss": 1.5})
        writer.write(start + 2, {"eval/rte/loss": 2.5})
        writer.close()
    (settings, run), (again, _) = runs
    assert settings == again
    assert settings["project"] == "flan"
    assert settings["name"] == tmp_path.name
    assert settings["resume"] == "allow"
    assert settings["config"] == {"gin": "TRAIN_STEPS = 6"}
    assert run.logged == [{"step": 2, "train/loss": 1.5}, {"step": 2, "eval/rte/loss": 2.5}]
    assert run.finished


def test_it_is_off_unless_asked_for_and_missed_before_anything_is_written(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert open_wandb(None) is None
    with pytest.raises(ValueError, match=r"pip install 'flan-jax\[wandb\]'"):
        open_wandb("flan")
