"""`--engine=t5x`: refusals, and the loop around T5X's process, whose place a thread takes."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.checkpoints import layout
from flan.checkpoints.foreign.t5x_export import write_t5x
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.cli.main import main
from flan.data.batch import Batch
from flan.engines import t5x_process, t5x_run, t5x_settings
from flan.engines.t5x_process import T5xFailed, pack, unpack
from flan.engines.t5x_settings import check_settings
from flan.experiments import graph
from flan.experiments.definitions import LeaveOneOut
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig
from flan.training.loop import LoopConfig
from flan.training.metrics import MetricsWriter, read_metrics
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.settings import RunConfig
from flan.training.signals import Preempted
from flan.training.state import TrainState
from flan.training.window import NonFiniteLossError, Reporting

quiet_orbax()
ROWS, LENGTH = 2, 6
CONFIG = RunConfig(model_dir="", data=None, loop=LoopConfig(8, log_every=2, save_every=4), seed=3)


@pytest.mark.parametrize(
    ("part", "changes", "named"),
    [
        ("loop", {"keep_best": True, "eval_every": 2}, "LoopConfig.keep_best = True"),
        ("loop", {"profile": "2:3"}, "LoopConfig.profile = '2:3'"),
        ("optimizer", {"name": "adamw"}, "OptimizerConfig.name = 'adamw'"),
        ("optimizer", {"ema_decay": 0.9}, "OptimizerConfig.ema_decay = 0.9"),
        ("optimizer", {"factored": False}, "OptimizerConfig.factored = False"),
        ("step", {"prefix_lm": True}, "StepConfig.prefix_lm = True"),
        ("step", {"microbatches": 2}, "StepConfig.microbatches = 2"),
        ("step", {"seed": 4}, "StepConfig.seed = 4"),
        ("mesh", {"fsdp": 2}, "MeshConfig.fsdp = 2"),
    ],
)
def test_what_t5x_cannot_do_is_refused_by_name(part, changes, named):
    wrong = dataclasses.replace(getattr(CONFIG, part), **changes)
    with pytest.raises(ValueError, match="--engine=t5x cannot do") as error:
        check_settings(dataclasses.replace(CONFIG, **{part: wrong}))
    assert named in str(error.value)


def test_what_t5x_can_do_is_not_refused():
    check_settings(
        dataclasses.replace(
            CONFIG,
            optimizer=OptimizerConfig(
                schedule="linear", decay_steps=5, clip_norm=1.0, momentum=0.9, weight_decay=0.1
            ),
            mesh=MeshConfig(data=2, model=4),
            model=ModelConfig(0, 1, 8, 1, 8, 8, dtype="bfloat16"),
        )
    )


def test_without_t5x_the_recipe_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(t5x_settings, "_NEEDED", ("json", "no_such_module"))
    command = ["train", "--gin_file=configs/runs/finetune.gin", "--engine=t5x"]
    command += ["--gin_file=configs/models/tiny.gin", f"--model_dir={tmp_path / 'run'}"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "lacks no_such_module" in error
    assert "docs/t5x.md" in error
    assert not (tmp_path / "run").exists()
    launch = ["launch", "leave_one_out", f"--out={tmp_path / 'loo'}", "--engine=t5x"]
    assert main(launch) == 2
    assert main([*command, "--num_processes=2"]) == 2


def test_an_experiment_hands_the_engine_on(tmp_path):
    inputs = graph.Inputs(
        out=tmp_path,
        gin_files=(),
        bindings=(),
        initial="base",
        data_dir=None,
        cache_dir=None,
        evaluation=graph.EvaluationSettings(),
        engine="t5x",
    )
    jobs = graph.build(LeaveOneOut(clusters=["nli"]).runs(), inputs)
    given = {job.name: "--engine=t5x" in job.arguments for job in jobs}
    assert [name for name, is_given in given.items() if is_given] == ["nli/train"]


def batch(step):
    ids = np.full((ROWS, LENGTH), step + 2, np.int32)
    weights = np.zeros((ROWS, LENGTH), np.float32)
    weights[:, : 1 + step % 3] = 1
    return Batch(ids, ids + 1, ids + 2, np.ones_like(ids), weights)


def test_batches_arrive_as_they_were():
    found = unpack(pack(batch(5)), ROWS, LENGTH)
    for ours, theirs in zip(batch(5), found, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


class Data:
    num_steps, length = 8, LENGTH
    batch = staticmethod(batch)


class FakeT5x:
    """In the place of the process: each step adds one to the parameters."""

    def __init__(self, plan, environment):
        self.plan, self._answer = json.loads(json.dumps(plan)), None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def give(self, found):
        np.testing.assert_array_equal(found.tokens, batch(self._asked).tokens)

    def answer(self, word):
        self._answer = word

    def metrics(self, step):
        return {"loss": 1.0 + step, "accuracy": 0.5, "learning_rate": 0.1}

    def messages(self):
        plan, folder = self.plan, type(self).folder
        assert (folder / f"checkpoint_{plan['first']}").is_dir()
        for step in range(plan["first"] + 1, plan["steps"] + 1):
            self._asked = step - 1
            yield {"batch": step - 1}
            if step % plan["log_every"] == 0:
                yield {"step": step, "metrics": self.metrics(step)}
                if self._answer == "stop":
                    self.save(step)
                    yield {"stopped": step}
                    return
            if step % plan["save_every"] == 0:
                self.save(step)
        yield {"done": plan["steps"]}

    def save(self, step):
        state = small_state(step)
        write_t5x(t5x_run._StateSource(state), type(self).folder, step)


OPTIMIZER = OptimizerConfig(clip_norm=1.0)


def small_state(step):
    """Parameters and statistics that say which step they are of."""
    tree = {
        "decoder_norm": {"scale": np.zeros(3)},
        "layers": {"mlp": {"wo": {"kernel": np.zeros((2, 4, 3))}}},
    }
    of = lambda x: jnp.full(x.shape, float(step), jnp.float32)  # noqa: E731
    params = jax.tree.map(of, tree)
    shapes = jax.eval_shape(make_optimizer(OPTIMIZER).init, params)
    opt_state = jax.tree.map(lambda s: jnp.full(s.shape, step, s.dtype), shapes)
    return TrainState(jnp.int32(step), params, opt_state)


@pytest.fixture
def loop(monkeypatch, tmp_path):
    """Runs `t5x_loop` in a folder, with a fake T5X."""

    def start(fake=FakeT5x, step=0):
        fake.folder = tmp_path / "t5x"
        monkeypatch.setattr(t5x_run, "T5xProcess", fake)
        layout.write_model_config(tmp_path, ModelConfig(8, 1, 8, 1, 8, 8))
        manager = CheckpointManager(tmp_path)
        writer = MetricsWriter(tmp_path, step)
        try:
            return t5x_run.t5x_loop(
                CONFIG,
                {},
                small_state(step),
                None,
                Data(),
                CONFIG.loop,
                None,
                manager,
                writer,
                {"about": "a run"},
                batch_size=ROWS,
                reporting=Reporting(8, flops=2.0),
            )
        finally:
            writer.close()
            manager.close()

    return start


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_t5xs_checkpoints_become_the_runs(loop, tmp_path):
    left = tmp_path / "t5x" / "checkpoint_9"  # of a run that went further and was thrown away
    left.mkdir(parents=True)
    same(loop(), small_state(8))
    assert not left.exists()
    reader = CheckpointManager(tmp_path, read_only=True)
    assert reader.steps() == [4, 8]
    found, metadata = reader.restore(jax.eval_shape(lambda: small_state(0)), 4)
    reader.close()
    same(found, small_state(4))
    assert metadata == {"about": "a run"}
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert [line["loss"] for line in lines] == [3, 5, 7, 9]
    assert [line["tokens_per_step"] for line in lines] == [12] * 4
    assert [line["targets_per_step"] for line in lines] == [3, 4, 5, 3]
    # Again, from what is there.
    same(loop(step=4), small_state(8))


def test_a_stop_is_saved_and_raised(loop, tmp_path):
    class Told(FakeT5x):
        def metrics(self, step):
            if step == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().metrics(step)

    with pytest.raises(Preempted, match="saved at step 6"):
        loop(Told)
    reader = CheckpointManager(tmp_path, read_only=True)
    assert reader.steps() == [4, 6]
    reader.close()


def test_a_bad_loss_ends_it_and_saves_nothing(loop, tmp_path):
    class Bad(FakeT5x):
        def metrics(self, step):
            return {**super().metrics(step), "loss": float("nan")}

    with pytest.raises(NonFiniteLossError, match="after 0 up to 2"):
        loop(Bad)
    assert not any((tmp_path / "checkpoints").iterdir())
    assert not (tmp_path / "metrics.jsonl").read_text()


def test_a_process_that_fails_or_dies_is_reported():
    for program, message in (
        ("c.send_bytes(json.dumps({'error': 'ValueError: no'}).encode())", "T5X: ValueError: no"),
        ("sys.exit(7)", "ended with code 7"),
    ):
        process = start(
            "import sys, json; from multiprocessing.connection import Connection; "
            f"c = Connection(int(sys.argv[1])); {program}"
        )
        with process, pytest.raises(T5xFailed, match=message):
            for _ in process.messages():
                pass


def start(code):
    """A `T5xProcess` of a program of one's own."""
    process = t5x_process.T5xProcess.__new__(t5x_process.T5xProcess)
    process._connection, theirs = multiprocessing.Pipe()
    process._child = subprocess.Popen(
        [sys.executable, "-c", code, str(theirs.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    return process
