"""One gradient step: loss, gradients over microbatches, update; jitted on the mesh."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan import partitioning
from flan.data.batch import Batch
from flan.models.config import ModelConfig
from flan.models.loss import LossConfig, weighted_loss
from flan.models.transformer import Transformer
from flan.partitioning import MeshConfig
from flan.training.state import TrainState, state_shardings
from flan.training.trainable import join, split

Metrics = dict[str, jax.Array]


class Step(Protocol):
    """A gradient step."""

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """The state after the step, and its metrics."""


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A step jitted for a mesh: call it, or lower it to see what it would take.

    Attributes:
      jitted: the jitted function.
      mesh, mesh_config: where it runs.
    """

    jitted: Any
    mesh: Mesh
    mesh_config: MeshConfig

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Takes the step; the state that is given is consumed."""
        with partitioning.use_mesh(self.mesh, self.mesh_config):
            return self.jitted(state, batch)

    def lower(self, state: TrainState, batch: Batch) -> jax.stages.Lowered:
        """The step for arguments of these shapes, ready to compile; nothing is run."""
        with partitioning.use_mesh(self.mesh, self.mesh_config):
            return self.jitted.lower(state, batch)


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """What a step computes beside the model.

    Attributes:
      loss: terms of the loss.
      prefix_lm: bidirectional attention within an example's inputs.
      microbatches: gradients are summed over this many parts of the batch, then divided
        by the number of target tokens of the whole, so that the result does not depend
        on it.
      seed: of dropout; the key of a step is a function of (seed, step). None takes the run's.
    """

    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    prefix_lm: bool = False
    microbatches: int = 1
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.microbatches < 1:
            raise ValueError(
                f"StepConfig.microbatches must be 1 (the whole batch) or more, got "
                f"{self.microbatches}"
            )
        if self.seed is not None:
            check_seed("StepConfig.seed", self.seed)


def check_seed(name: str, seed: int) -> None:
    """ValueError for a seed that not all generators tell apart from others."""
    # JAX takes the lowest 32 bits alone, NumPy no negative ones.
    if not 0 <= seed < 2**32:
        raise ValueError(f"{name} must be from 0 to {2**32 - 1}, got {seed}")


def make_train_step(
    model_config: ModelConfig,
    tx: optax.GradientTransformation,
    config: StepConfig,
    mesh: Mesh,
    mesh_config: MeshConfig,
    max_targets: int | None = None,
) -> TrainStep:
    """The compiled step `(state, batch) -> (state, metrics)`; it consumes the state it is given.

    Args:
      model_config: the network.
      tx: the optimizer.
      config: loss and accumulation.
      mesh: devices.
      mesh_config: its logical axis rules.
      max_targets: most loss positions in a row (the packing plan's guarantee), or None.

    Returns:
      The step. Its metrics are float32 scalars: `loss` (nats a target token),
      `accuracy` (of the next token), `targets` (tokens with loss), `tokens` (not padding),
      `grad_norm`, `param_norm` (both of the parameters that are trained).
    """
    model = Transformer(model_config)
    shardings = state_shardings(model_config, tx, mesh, mesh_config)
    rows = partitioning.batch_sharding(mesh)
    whole = NamedSharding(mesh, PartitionSpec())

    def part_gradient(params: Any, batch: Batch, key: jax.Array | None) -> tuple[Any, Metrics]:
        trained, frozen = split(model_config, params)

        def loss(p: Any) -> tuple[jax.Array, Metrics]:
            return weighted_loss(
                model,
                join(p, frozen),
                batch,
                config.loss,
                max_targets=max_targets,
                prefix_lm=config.prefix_lm,
                dropout_key=key,
            )

        (_, sums), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        return jax.tree.map(lambda g: g.astype(jnp.float32), grads), sums

    def gradient(state: TrainState, batch: Batch) -> tuple[Any, Metrics]:
        key = None
        if model_config.drops:
            key = jax.random.fold_in(jax.random.key(config.seed or 0), state.step)
        if config.microbatches == 1:
            return part_gradient(state.params, batch, key)
        # Rows are dealt out in turn, so that each part spans all devices of the batch axes.
        parts = jax.tree.map(
            lambda x: jnp.swapaxes(x.reshape(-1, config.microbatches, *x.shape[1:]), 0, 1), batch
        )

        def add(total: tuple[Any, Metrics], item: tuple[jax.Array, Batch]) -> tuple[Any, None]:
            number, part = item
            part_key = None if key is None else jax.random.fold_in(key, number)
            return jax.tree.map(jnp.add, total, part_gradient(state.params, part, part_key)), None

        shapes = jax.eval_shape(
            part_gradient, state.params, jax.tree.map(lambda x: x[0], parts), key
        )
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return jax.lax.scan(add, zeros, (jnp.arange(config.microbatches), parts))[0]

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        grads, sums = gradient(state, batch)
        weight = jnp.maximum(sums["weight"], 1.0)
        grads = jax.tree.map(lambda g: g / weight, grads)
        trained, frozen = split(model_config, state.params)
        updates, opt_state = tx.update(grads, state.opt_state, trained)
        trained = optax.apply_updates(trained, updates)
        metrics = {
            "loss": sums["loss"] / weight,
            "accuracy": sums["correct"] / weight,
            "targets": sums["weight"],
            "tokens": jnp.sum(batch.segment_ids > 0).astype(jnp.float32),
            "grad_norm": optax.global_norm(grads),
            # Summed in bfloat16, squares would drown in their own sum.
            "param_norm": optax.global_norm(jax.tree.map(lambda p: p.astype(jnp.float32), trained)),
        }
        return TrainState(state.step + 1, join(trained, frozen), opt_state), metrics

    jitted = jax.jit(
        step,
        in_shardings=(shardings, rows),
        out_shardings=(shardings, whole),
        donate_argnums=0,
    )

    return TrainStep(jitted, mesh, mesh_config)


def put_batch(batch: Batch, mesh: Mesh, batch_size: int | None = None) -> Batch:
    """The rows of this process as global arrays over the mesh.

    `batch_size` is that of the whole batch; needed where a process may hold all of it
    (see `flan.processes.share_of_rows`).
    """
    sharding = partitioning.batch_sharding(mesh)

    def put(x: np.ndarray) -> jax.Array:
        shape = None if batch_size is None else (batch_size, *x.shape[1:])
        return jax.make_array_from_process_local_data(sharding, x, shape)

    return jax.tree.map(put, batch)
