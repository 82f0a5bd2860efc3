"""Scores on dev rows: those of each example alone, on any mesh, and without a trace in training."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.checkpoints import layout
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.manager import CheckpointError, CheckpointManager
from flan.data.dev_examples import DevExamples, DevRow
from flan.models.transformer import Transformer
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.tiny import TINY_MODEL, EchoData
from flan.training.dev import make_evaluation, summary
from flan.training.loop import LoopConfig, train_loop
from flan.training.metrics import MetricsWriter, read_metrics
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.state import create_state
from flan.training.window import NonFiniteLossError

TX = make_optimizer(OptimizerConfig(learning_rate=1e-2))
ONE = MeshConfig(1)
LENGTH = 32


def made_up(rows: int = 9) -> DevExamples:
    """Rows of `choice` with three options each, and of `free` with none."""
    rng = np.random.default_rng(0)
    dev_rows, tokens, inputs = [], [], []
    for number in range(rows):
        context = rng.integers(2, 64, rng.integers(3, 9))
        count = 3 if number % 2 else 1
        name = "choice" if count > 1 else "free"
        dev_rows.append(DevRow(name, len(tokens), count, number % count))
        for _ in range(count):
            answer = rng.integers(2, 64, rng.integers(1, 5))
            tokens.append(np.array([*context, 1, *answer, 1], np.int32))
            inputs.append(len(context) + 1)
    return DevExamples(tuple(dev_rows), tuple(tokens), np.array(inputs), LENGTH, 0)


def one_by_one(params, examples):
    """Each example's log-probability, correct tokens and tokens, with no packing."""
    model = Transformer(TINY_MODEL)
    score = jax.jit(lambda t, s: jax.nn.log_softmax(model.apply({"params": params}, t, s)))
    found = []
    for tokens, start in zip(examples.tokens, examples.input_lengths, strict=True):
        targets = np.zeros((1, LENGTH), np.int32)
        targets[0, : len(tokens)] = tokens
        read = np.zeros_like(targets)
        read[0, 1:] = targets[0, :-1]
        log_probs = np.asarray(score(read, targets))[0]
        places = np.arange(start, len(tokens))
        found.append(
            (
                log_probs[places, tokens[places]].sum(),
                (log_probs[places].argmax(axis=-1) == tokens[places]).sum(),
                len(places),
            )
        )
    return np.array(found).T


@pytest.mark.parametrize("config", [MeshConfig(1), MeshConfig(2, 2, 2)])
def test_packed_scores_are_those_of_each_example_alone(config):
    mesh = make_mesh(config, jax.devices()[: config.data * config.fsdp * config.model])
    params = create_state(TINY_MODEL, TX, 0, mesh, config).params
    examples = made_up()
    evaluate = make_evaluation(examples, TINY_MODEL, mesh, config, batch_size=4)
    scores = evaluate(params)
    alone = jax.device_put(jax.device_get(params), jax.devices()[0])
    log_probs, correct, counts = one_by_one(alone, examples)
    expected = summary(examples, log_probs, correct, counts)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert set(scores) == {
        f"eval/{name}/{kind}"
        for name in ("choice", "free", "mean")
        for kind in ("loss", "accuracy")
    }


def test_the_most_probable_option_is_chosen_and_the_first_of_equals():
    rows = (DevRow("a", 0, 2, 1), DevRow("a", 2, 3, 0), DevRow("b", 5, 1, 0))
    examples = DevExamples(rows, (np.zeros(4, np.int32),) * 6, np.full(6, 2), LENGTH, 0)
    log_probs = np.array([-3.0, -1.0, -2.0, -2.0 + 1e-6, -5.0, -4.0])
    scores = summary(examples, log_probs, np.array([0, 2, 2, 2, 2, 1]), np.full(6, 2))
    assert scores["eval/a/accuracy"] == 1.0
    assert scores["eval/a/loss"] == (1.0 + 2.0) / 4
    assert scores["eval/b/accuracy"] == 0.5
    assert scores["eval/mean/accuracy"] == 0.75
    assert scores["eval/mean/loss"] == (0.75 + 2.0) / 2


def test_scores_that_are_no_numbers_are_told_as_such_and_stop_the_run(tmp_path):
    mesh = make_mesh(ONE, jax.devices()[:1])
    broken = jax.tree.map(lambda p: p * np.nan, create_state(TINY_MODEL, TX, 0, mesh, ONE).params)
    scores = make_evaluation(made_up(), TINY_MODEL, mesh, ONE, batch_size=4)(broken)
    assert np.isnan(scores["eval/choice/accuracy"])
    assert np.isnan(scores["eval/mean/loss"])
    with pytest.raises(NonFiniteLossError, match=r"step 2: .* no numbers \(eval/mean/accuracy nan"):
        run(tmp_path, [0.5, np.nan], steps=4)
    assert CheckpointManager(tmp_path, read_only=True).steps() == [1]


def test_the_last_batch_is_filled_up_with_empty_rows():
    batches, order, most = made_up().batches(64)
    (batch,) = batches
    assert batch.tokens.shape == (64, LENGTH)
    assert sorted(order) == list(range(len(made_up().tokens)))
    assert (batch.loss_weights.sum(axis=1) <= most).all()
    assert not batch.segment_ids[-1].any()


def fake_step(state, batch):
    """A step without a network."""
    metrics = {"loss": 1.0, "accuracy": 0.0, "targets": 1.0, "tokens": 1.0}
    metrics |= {"grad_norm": 1.0, "param_norm": 1.0}
    return state._replace(step=state.step + 1), metrics


def run(folder, accuracies, steps, **settings):
    """A run that evaluates after each step, with these accuracies."""
    config = LoopConfig(steps, save_every=2, keep=1, eval_every=1, keep_best=True, **settings)
    mesh = make_mesh(MeshConfig(1), jax.devices()[:1])
    manager = CheckpointManager(folder, keep=1, keep_best=True)
    state = create_state(TINY_MODEL, TX, 0, mesh, MeshConfig(1))
    first = max(manager.steps(), default=0)
    state = state._replace(step=jnp.int32(first))
    left = iter(accuracies)

    def evaluate(params):
        return {"eval/mean/accuracy": next(left), "eval/mean/loss": 1.0}

    writer = MetricsWriter(folder, first)
    data = EchoData(num_steps=steps)
    train_loop(state, fake_step, data, config, mesh, manager, writer, {}, evaluate=evaluate)
    writer.close()
    manager.close()
    return CheckpointManager(folder, read_only=True)


def test_the_best_checkpoint_stays_beside_the_newest_over_resumes(tmp_path):
    layout.write_model_config(tmp_path, TINY_MODEL)
    manager = run(tmp_path, [0.1, 0.2, 0.7, 0.3], steps=4)
    assert manager.steps() == [3, 4]
    assert manager.best_step() == 3
    manager = run(tmp_path, [0.5, 0.7, 0.6, 0.1], steps=8)
    assert manager.steps() == [3, 8]  # 0.7 again at step 6 is no better
    assert load_for_inference(tmp_path, "best").step == 3
    manager = run(tmp_path, [0.8, 0.1], steps=10)
    assert manager.steps() == [9, 10]
    assert load_for_inference(tmp_path, "best").step == 9
    lines = read_metrics(tmp_path / layout.METRICS_FILE)
    scored = [line["eval/mean/accuracy"] for line in lines if "eval/mean/accuracy" in line]
    assert scored == [0.1, 0.2, 0.7, 0.3, 0.5, 0.7, 0.6, 0.1, 0.8, 0.1]


def test_without_scores_there_is_no_best(tmp_path):
    manager = CheckpointManager(tmp_path)
    with pytest.raises(CheckpointError, match=r"no checkpoint .* has dev scores"):
        manager.best_step()
    manager.close()


@pytest.mark.parametrize("every", [0, 11])
def test_keeping_the_best_needs_evaluations(every):
    with pytest.raises(ValueError, match="KEEP_BEST needs evaluations"):
        LoopConfig(10, eval_every=every, keep_best=True)
