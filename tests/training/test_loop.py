"""The loop: logs, resumes exactly, saves when told to stop, stops on a bad loss."""

from __future__ import annotations

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flan.checkpoints import layout
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.tiny import TINY_MODEL, EchoData
from flan.training.loop import LoopConfig, train_loop
from flan.training.metrics import MetricsWriter, read_metrics
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.signals import Preempted
from flan.training.state import abstract_state, create_state
from flan.training.step import StepConfig, make_train_step
from flan.training.window import NonFiniteLossError, Reporting, Window, shown

MESH_CONFIG = MeshConfig(2)
TX = make_optimizer(OptimizerConfig(learning_rate=1e-2))
quiet_orbax()


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MESH_CONFIG, jax.devices()[:2])


@pytest.fixture(scope="module")
def step(mesh):
    # Dropout on: its random numbers must come back after a resume too.
    model = dataclasses.replace(TINY_MODEL, dropout_rate=0.1)
    return make_train_step(model, TX, StepConfig(seed=3), mesh, MESH_CONFIG, 12)


def go(folder, mesh, step, steps=12, data=None, mesh_config=MESH_CONFIG, **settings):
    """Runs, or goes on, to `steps`; returns the final parameters."""
    config = LoopConfig(**{"steps": steps, "log_every": 5, "save_every": 4, **settings})
    manager = CheckpointManager(folder, keep=config.keep)
    if manager.steps():
        state, _ = manager.restore(abstract_state(TINY_MODEL, TX, mesh, mesh_config))
    else:
        state = create_state(TINY_MODEL, TX, 0, mesh, mesh_config)
    writer = MetricsWriter(folder, int(state.step))
    data = data or EchoData(num_steps=steps)
    try:
        return train_loop(state, step, data, config, mesh, manager, writer, {"n": 1}).params
    finally:
        writer.close()
        manager.close()


def equal(one, two) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def test_a_resumed_run_ends_bit_identical_and_logs_each_step_once(tmp_path, mesh, step):
    whole = go(tmp_path / "whole", mesh, step)
    go(tmp_path / "parts", mesh, step, steps=7)
    parts = go(tmp_path / "parts", mesh, step)
    assert equal(whole, parts)
    lines = read_metrics(tmp_path / "parts" / layout.METRICS_FILE)
    assert [line["step"] for line in lines] == [4, 5, 7, 8, 10, 12]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_metrics_stand_in_tensorboard_too(tmp_path, mesh, step):
    go(tmp_path, mesh, step, profile="5:6")
    events = EventAccumulator(str(tmp_path / layout.TENSORBOARD))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == [4, 5, 8, 10, 12]
    assert "train/tokens_per_second" in events.Tags()["scalars"]
    assert list((tmp_path / layout.PROFILE).rglob("*.xplane.pb"))


@pytest.mark.slow
def test_a_run_goes_on_on_other_meshes_with_the_same_losses(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for number, config in enumerate((MeshConfig(2, 2, 2), MeshConfig(4), MeshConfig(1)), 1):
        mesh = make_mesh(config, jax.devices()[: config.data * config.fsdp * config.model])
        step = make_train_step(TINY_MODEL, TX, StepConfig(), mesh, config, 12)
        settings = {"mesh_config": config, "log_every": 1}
        if number == 1:
            go(whole, mesh, step, steps=6, **settings)
        go(parts, mesh, step, steps=2 * number, **settings)
    one, two = (read_metrics(folder / layout.METRICS_FILE) for folder in (whole, parts))
    for name in ("loss", "grad_norm", "param_norm"):
        expected = [line[name] for line in one]
        np.testing.assert_allclose([line[name] for line in two], expected, rtol=1e-5)


def test_the_newest_checkpoints_stay(tmp_path, mesh, step):
    go(tmp_path, mesh, step, keep=2)
    manager = CheckpointManager(tmp_path, read_only=True)
    assert manager.steps() == [8, 12]
    assert manager.metadata(8) == (8, {"n": 1})


def test_sigterm_saves_and_a_later_run_goes_on(tmp_path, mesh, step):
    class Interrupting(EchoData):
        def batch(self, number):
            if number == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().batch(number)

    with pytest.raises(Preempted, match="saved at step"):
        go(tmp_path / "a", mesh, step, data=Interrupting(num_steps=12))
    assert CheckpointManager(tmp_path / "a", read_only=True).steps()
    assert equal(go(tmp_path / "a", mesh, step), go(tmp_path / "b", mesh, step))


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(tmp_path, mesh, step):
    class Poisoned(EchoData):
        def batch(self, number):
            batch = super().batch(number)
            if number == 6:
                batch.loss_weights[:] = np.inf
            return batch

    with pytest.raises(
        NonFiniteLossError, match=r"step 7: .*data\.batch\(6\).*bad_batch_7\.npz.*step 4"
    ):
        go(tmp_path, mesh, step, data=Poisoned(num_steps=12))
    assert CheckpointManager(tmp_path, read_only=True).steps() == [4]
    with np.load(tmp_path / "bad_batch_7.npz", allow_pickle=False) as kept:
        assert np.isinf(kept["loss_weights"]).all()
        np.testing.assert_array_equal(kept["tokens"], EchoData().batch(6).tokens)


def diverging(step):
    """A step whose parameters are infinite after step 3, and its loss not before step 4."""

    def diverge(state, batch):
        number = int(state.step) + 1
        state, metrics = step(state, batch)
        metrics = {**metrics, "loss": np.nan if number == 4 else 1.0}
        return state, {**metrics, "param_norm": np.inf if number == 3 else 1.0}

    return diverge


def test_parameters_that_became_infinite_are_neither_saved_nor_evaluated(tmp_path, mesh, step):
    told = r"step 3: the parameters became inf .*data\.batch\(2\).* parameters of step 2, unharmed,"
    with pytest.raises(NonFiniteLossError, match=told):
        go(tmp_path, mesh, diverging(step), save_every=1)
    assert CheckpointManager(tmp_path, read_only=True).steps() == [1, 2]


def test_a_checkpoint_right_before_a_bad_loss_is_not_called_sound(tmp_path, mesh, step):
    def large(state, batch):  # as after an update too large, whose result is finite still
        state, metrics = diverging(step)(state, batch)
        return state, {**metrics, "param_norm": 1e10}

    with pytest.raises(NonFiniteLossError, match=r"of step 2, unharmed,.*checkpoint of step 3: if"):
        go(tmp_path, mesh, large, save_every=1)


def test_metrics_after_the_resumed_step_are_dropped_and_a_cut_line_is_survived(tmp_path):
    writer = MetricsWriter(tmp_path)
    for number in (10, 20, 30):
        writer.write(number, {"loss": float(number)})
    writer.close()
    path = tmp_path / layout.METRICS_FILE
    path.write_text(path.read_text() + '{"step": 40, "lo')
    MetricsWriter(tmp_path, start_step=20).close()
    assert [line["step"] for line in read_metrics(path)] == [10, 20]


def test_a_window_tells_speed_utilization_time_left_and_learning_rate():
    window = Window(Reporting(100, lambda step: step / 10, flops=6e9, peak_flops=1e15))
    assert window.flush() is None
    metrics = {"loss": 2.0, "accuracy": 0.5, "targets": 10.0, "tokens": 80.0}
    metrics |= {"grad_norm": 1.0, "param_norm": 3.0}
    window.add(19, metrics)
    window.add(20, {**metrics, "loss": 4.0, "targets": 30.0})
    step, means = window.flush()
    seconds = means["seconds_per_step"]
    assert step == 20
    assert means["loss"] == (2.0 * 10 + 4.0 * 30) / 40
    assert means["learning_rate"] == 1.9
    assert means["seconds_left"] == pytest.approx(80 * seconds)
    assert means["tokens_per_second"] == pytest.approx(80 / seconds)
    assert means["mfu"] == pytest.approx(6e9 / seconds / 1e15)
    assert shown(means).startswith("loss 3.500, ")
    assert "MFU" in shown(means)


def test_a_window_without_loss_tokens_has_no_loss():
    window = Window(Reporting(2))
    metrics = {"loss": 0.0, "accuracy": 0.0, "targets": 0.0, "tokens": 80.0}
    window.add(1, {**metrics, "grad_norm": 0.0, "param_norm": 3.0})
    _, means = window.flush()
    assert not {"loss", "accuracy"} & means.keys()
    assert means["targets_per_step"] == 0
    assert shown(means).startswith("no tokens with loss, ")


@pytest.mark.parametrize("steps", ["5", "0:3", "7:5", "a:b", "1:2:3"])
def test_a_profile_of_impossible_steps_is_refused(steps):
    with pytest.raises(ValueError, match="PROFILE_STEPS must be 'START:STOP'"):
        LoopConfig(steps=10, profile=steps)


def test_impossible_periods_are_refused():
    with pytest.raises(ValueError, match="save_every must be 1 or more, got 0"):
        LoopConfig(steps=1, save_every=0)
