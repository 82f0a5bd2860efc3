"""Runs of `flan train` in processes of their own, killed and told to stop."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flan.checkpoints import layout
from flan.cli.main import main
from flan.cli.train import EXIT_PREEMPTED
from flan.testing.runs import assert_same
from flan.training.metrics import read_metrics


def start(flags: list[str], folder: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "flan.cli.main", *flags, f"--model_dir={folder}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until(process: subprocess.Popen, happened) -> None:
    deadline = time.monotonic() + 600
    while not happened():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def checkpoints(folder: Path) -> list[str]:
    path = folder / layout.CHECKPOINTS
    return [p.name for p in path.iterdir()] if path.is_dir() else []


def newest(folder: Path) -> int:
    return max((int(name) for name in checkpoints(folder) if name.isdigit()), default=0)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_bit_identical(flags, tmp_path):
    kills = int(os.environ.get("FLAN_KILLS", "2"))  # 20 make a soak of it
    steps = 12 * kills
    flags = [*flags, f"--gin.TRAIN_STEPS={steps}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*flags, f"--model_dir={whole}", f"--gin.SAVE_PERIOD={steps}"]) == 0

    rng = random.Random(kills)

    def saving() -> bool:
        return newest(parts) > reached and any(not name.isdigit() for name in checkpoints(parts))

    def going() -> bool:
        return newest(parts) >= reached + further

    def at_any_time() -> bool:
        return time.monotonic() > started + seconds

    for number in range(kills):
        reached, started = newest(parts), time.monotonic()
        moment = (saving, going, at_any_time)[number % 3]
        further, seconds = rng.randint(1, 5), rng.uniform(0, 30)
        process = start(flags, parts, "--gin.SAVE_PERIOD=1")
        wait_until(process, moment)
        time.sleep(0.0 if moment is saving else rng.uniform(0, 0.15))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert newest(parts) < steps
        assert newest(parts) > reached or moment is at_any_time
        print(
            f"kill {number + 1} ({moment.__name__}): step {reached} to {newest(parts)}", flush=True
        )

    assert main([*flags, f"--model_dir={parts}", "--gin.SAVE_PERIOD=1"]) == 0
    assert all(name.isdigit() for name in checkpoints(parts))
    assert_same(whole, parts)
    logged = [line["step"] for line in read_metrics(parts / layout.METRICS_FILE)]
    assert logged == list(range(1, steps + 1))


def test_sigterm_saves_and_asks_to_be_called_again(flags, tmp_path):
    run = tmp_path / "run"
    process = start(flags, run, "--gin.TRAIN_STEPS=100000", "--gin.SAVE_PERIOD=100000")
    metrics = run / layout.METRICS_FILE
    wait_until(process, lambda: metrics.is_file() and metrics.stat().st_size)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_PREEMPTED, output
    assert "run the same command to go on" in output
    stopped = newest(run)
    assert f"saved at step {stopped}" in output
    assert stopped >= 1
    assert main([*flags, f"--model_dir={run}", f"--gin.TRAIN_STEPS={stopped + 1}"]) == 0
    assert newest(run) == stopped + 1


def test_sigterm_while_data_is_prepared_ends_with_the_same_code(flags, tmp_path):
    caches, run = tmp_path / "caches", tmp_path / "run"
    process = start([*flags, f"--cache_dir={caches}"], run)
    wait_until(process, (caches / ".prepare.lock").exists)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_PREEMPTED, output
    assert "before the first step; what is prepared is kept; run the same command" in output
    assert not run.exists()
