"""Trains our network with T5X, on batches that another process gives: see `t5x_process`.

python -m flan.engines.t5x_train CONNECTION
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from flan.engines.t5x_process import unpack
from flan.models.config import ModelConfig
from flan.models.loss import LossConfig
from flan.training.optimizer import OptimizerConfig, make_schedule

# T5X's names of a batch's arrays.
FEATURES = {
    "tokens": "decoder_input_tokens",
    "targets": "decoder_target_tokens",
    "positions": "decoder_positions",
    "segment_ids": "decoder_segment_ids",
    "loss_weights": "decoder_loss_weights",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
      folder: T5X's; holds `checkpoint_<first>`.
      first, steps: the step to begin after, and the last.
      rows, length: of a batch.
      log_every, save_every, keep: periods, and checkpoints that stay.
      seed: of dropout.
      model, optimizer, loss: settings, as `dataclasses.asdict` gives them.
      partitions: devices that share a copy of the parameters.
      devices: along the batch; -1 for what is left.
    """

    folder: str
    first: int
    steps: int
    rows: int
    length: int
    log_every: int
    save_every: int
    keep: int
    seed: int
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    loss: Mapping[str, Any]
    partitions: int
    devices: int


class Stopped(Exception):
    """The other process asked for an end."""


class Asking:
    """Questions to the other process, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def ask(self, question: Mapping[str, Any]) -> bytes:
        """The answer."""
        with self._lock:
            self.tell(question)
            return self._connection.recv_bytes()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Says what has no answer."""
        self._connection.send_bytes(json.dumps(message).encode())


def optimizer_definition(config: OptimizerConfig) -> Any:
    """T5X's Adafactor with the meaning of our settings."""
    from t5x import adafactor

    return adafactor.Adafactor(
        multiply_by_parameter_scale=config.scale_by_parameters,
        beta1=config.momentum,
        decay_rate=config.decay_rate,
        clipping_threshold=config.clip_update,
        weight_decay_rate=config.weight_decay or None,
        weight_decay_rate_lr_exponent=(config.weight_decay_lr_exponent or None)
        if config.weight_decay
        else None,
        global_norm_clip_threshold=config.clip_norm,
        # Statistics of each layer of the stack are kept apart.
        logical_factor_rules=adafactor.standard_logical_factor_rules(),
    )


def model(network: ModelConfig, optimizer: OptimizerConfig, loss: LossConfig) -> Any:
    """Our network in T5X's `DecoderOnlyModel`."""
    import seqio
    from t5x import models

    from flan.models.transformer import Transformer

    return models.DecoderOnlyModel(
        module=Transformer(network),
        # Nothing is encoded here.
        vocabulary=seqio.PassThroughVocabulary(network.vocab_size),
        optimizer_def=optimizer_definition(optimizer),
        z_loss=loss.z_loss,
        label_smoothing=loss.label_smoothing,
        loss_normalizing_factor="NUM_REAL_TARGET_TOKENS",
    )


def train(plan: Plan, asking: Asking) -> int:
    """Trains; returns the last step.

    Raises Stopped where the other process said so; the state is saved then.
    """
    import jax
    from t5x import partitioning, trainer, utils
    from t5x import train as t5x_train

    optimizer = OptimizerConfig(**plan.optimizer)
    copies = jax.device_count() // plan.partitions
    if plan.devices not in (-1, copies) or jax.device_count() % plan.partitions:
        raise ValueError(
            f"MeshConfig.data {plan.devices} x MeshConfig.model {plan.partitions} is not the "
            f"number of devices, {jax.device_count()}"
        )

    class Report(trainer.BaseAction):
        """Tells the metrics of the steps since the last report."""

        def run(self, train_state: Any, metrics_by_task: Mapping[str, Any]) -> bool:
            values = metrics_by_task[t5x_train.TRAIN_METRIC_KEY]
            metrics = {
                ours: float(np.asarray(values[theirs].value))
                for ours, theirs in (
                    ("loss", "cross_ent_loss"),
                    ("accuracy", "accuracy"),
                    ("learning_rate", "learning_rate/current"),
                )
            }
            step = int(utils.get_local_data(train_state.step))
            word = json.loads(asking.ask({"metrics": metrics, "step": step}))
            if word == "stop" and step < plan.steps:
                # T5X saves what it has then.
                raise trainer.PreemptionError(step)
            return False

    try:
        step, _ = t5x_train.train(
            model=model(
                ModelConfig.from_json(dict(plan.model)), optimizer, LossConfig(**plan.loss)
            ),
            train_dataset_cfg=utils.DatasetConfig(
                mixture_or_task_name="flan",
                task_feature_lengths={"targets": plan.length},
                split="train",
                batch_size=plan.rows,
                shuffle=False,
                seed=None,
            ),
            train_eval_dataset_cfg=None,
            infer_eval_dataset_cfg=None,
            checkpoint_cfg=utils.CheckpointConfig(
                save=utils.SaveCheckpointConfig(
                    period=plan.save_every, dtype="float32", keep=plan.keep
                )
            ),
            partitioner=partitioning.PjitPartitioner(
                num_partitions=plan.partitions,
                logical_axis_rules=partitioning.standard_logical_axis_rules(),
            ),
            trainer_cls=functools.partial(
                trainer.Trainer, num_microbatches=None, learning_rate_fn=make_schedule(optimizer)
            ),
            model_dir=plan.folder,
            total_steps=plan.steps,
            eval_steps=0,
            eval_period=0,
            stats_period=plan.log_every,
            random_seed=plan.seed,
            summarize_config_fn=lambda *_: None,
            get_dataset_fn=lambda *_: dataset(plan, asking),
            # Reports, too, wait for the metrics.
            concurrent_metrics=False,
            actions={"TRAIN": [Report()]},
            verify_matching_vocabs_fn=None,
        )
    except trainer.PreemptionError as error:
        raise Stopped(error.args[0]) from error
    return int(step)


def dataset(plan: Plan, asking: Asking) -> Any:
    """The batches from the first step on, two of them asked for ahead."""
    import tensorflow as tf

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for step in range(plan.first, plan.steps):
            batch = unpack(asking.ask({"batch": step}), plan.rows, plan.length)
            yield {theirs: getattr(batch, ours) for ours, theirs in FEATURES.items()}

    signature = {
        theirs: tf.TensorSpec(
            (plan.rows, plan.length), tf.float32 if ours == "loss_weights" else tf.int32
        )
        for ours, theirs in FEATURES.items()
    }
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)


def main() -> None:
    """Serves one parent."""
    # These are the parent's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    connection = Connection(int(sys.argv[1]))
    asking = Asking(connection)
    plan = Plan(**json.loads(connection.recv_bytes()))
    threading.Thread(target=end_with_parent, daemon=True).start()
    _quiet()
    try:
        asking.tell({"done": train(plan, asking)})
    except Stopped as stopped:
        asking.tell({"stopped": stopped.args[0]})
    except Exception as error:
        traceback.print_exc()
        asking.tell({"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]})
    # TensorFlow's threads may still be at work, which an ordinary end would trip over.
    sys.stderr.flush()
    os._exit(0)


def _quiet() -> None:
    """Keeps T5X's notes, a dozen a step, out of the terminal."""
    import warnings

    from absl import logging

    from flan.checkpoints.manager import quiet_orbax

    warnings.filterwarnings("ignore")
    logging.set_verbosity(logging.ERROR)
    quiet_orbax()


if __name__ == "__main__":
    main()
