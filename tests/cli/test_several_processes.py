"""`flan train` in several processes: as one process would, on any mesh, and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flan.checkpoints import layout
from flan.checkpoints.inference import load_for_inference
from flan.cli.main import main
from flan.cli.train import EXIT_PREEMPTED
from flan.processes import connect, share
from flan.training.metrics import read_metrics


@pytest.fixture(scope="module")
def flags(small_demo, tmp_path_factory):
    sizes = {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_head": 8, "d_ff": 32}
    return [
        "train",
        "--gin_file=configs/runs/finetune.gin",
        "--gin_file=configs/models/tiny.gin",
        *(f"--gin.ModelConfig.{name}={value}" for name, value in sizes.items()),
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}",
        f"--data_dir={small_demo}",
        f"--cache_dir={tmp_path_factory.mktemp('caches')}",
        "--gin.MIXTURE_OR_TASK_NAME=rte",
        "--gin.SAVE_PERIOD=3",
        "--gin.LOG_PERIOD=1",
        "--gin.RENDERINGS=2",
        "--gin.InstructionData.vocab_size=400",
        "--gin.LEARNING_RATE=0.01",
    ]


def start_two(flags: list[str], folder: Path, *more: str) -> list[subprocess.Popen]:
    """Two processes of two devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flag = "--xla_force_host_platform_device_count"
    environment = {
        **os.environ,
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace(f"{flag}=8", f"{flag}=2"),
    }
    command = [sys.executable, "-m", "flan.cli.main", *flags, f"--model_dir={folder}", *more]
    command += [f"--coordinator_address=localhost:{port}", "--num_processes=2"]
    return [
        subprocess.Popen(
            [*command, f"--process_id={number}"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]


def end(running: list[subprocess.Popen], code: int) -> list[str]:
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [code, code], outputs
    return outputs


def losses(folder: Path) -> list[float]:
    lines = read_metrics(folder / layout.METRICS_FILE)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


@pytest.mark.slow
def test_two_processes_train_as_one_and_resume_on_another_mesh(flags, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*flags, "--gin.TRAIN_STEPS=6", f"--model_dir={one}"]) == 0  # 8 devices
    first, second = end(start_two(flags, two, "--gin.TRAIN_STEPS=3"), 0)
    assert "trained to step 3" in first
    assert "trained to step" not in second
    assert "train:" not in second
    np.testing.assert_allclose(losses(two), losses(one)[:3], rtol=1e-5)

    # The batch then lies whole on each process: the model axis spans them.
    mesh = ["--gin.MeshConfig.data=1", "--gin.MeshConfig.fsdp=2", "--gin.MeshConfig.model=2"]
    end(start_two(flags, two, "--gin.TRAIN_STEPS=6", *mesh), 0)
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-5)
    assert load_for_inference(two).step == 6
    assert sorted(p.name for p in (two / layout.CHECKPOINTS).iterdir()) == ["3", "6"]


@pytest.mark.slow
def test_sigterm_at_one_process_stops_both_at_the_same_step(flags, tmp_path):
    running = start_two(flags, tmp_path, "--gin.TRAIN_STEPS=100000", "--gin.SAVE_PERIOD=100000")
    metrics, deadline = tmp_path / layout.METRICS_FILE, time.monotonic() + 240
    while not (metrics.is_file() and metrics.stat().st_size):
        assert all(process.poll() is None for process in running)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running[1].send_signal(signal.SIGTERM)
    outputs = end(running, EXIT_PREEMPTED)
    (step,) = (int(p.name) for p in (tmp_path / layout.CHECKPOINTS).iterdir())
    assert all(f"saved at step {step}" in output for output in outputs)


def test_processes_share_the_rows_as_their_devices_hold_them():
    halves = {0: {(0, 2), (2, 4)}, 1: {(4, 6), (6, 8)}}
    assert [share(halves, process, 8) for process in halves] == [(0, 2), (1, 2)]
    alike = {0: {(0, 4), (4, 8)}, 1: {(0, 4), (4, 8)}}
    assert [share(alike, process, 8) for process in alike] == [(0, 1), (0, 1)]
    pairs = {0: {(0, 4)}, 1: {(0, 4)}, 2: {(4, 8)}, 3: {(4, 8)}}
    assert [share(pairs, process, 8) for process in pairs] == [(0, 2), (0, 2), (1, 2), (1, 2)]
    scattered = {0: {(0, 2), (4, 6)}, 1: {(2, 4), (6, 8)}}
    assert [share(scattered, process, 8) for process in scattered] == [(0, 1), (0, 1)]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("localhost:1", 2, None), "missing: --process_id"),
        ((None, 2, 0), "missing: --coordinator_address"),
        (("localhost", 2, 0), "HOST:PORT of process 0, got 'localhost'"),
        (("localhost:1", 2, 2), "--process_id 2 is not one of --num_processes 2"),
        (("localhost:1", 0, 0), "--num_processes 0"),
    ],
)
def test_processes_that_cannot_meet_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        connect(*settings)


def test_one_process_needs_no_others(monkeypatch):
    monkeypatch.delenv("TPU_WORKER_HOSTNAMES", raising=False)
    connect()
    connect("localhost:1", 1, 0)
