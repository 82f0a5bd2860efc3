"""The train state: what a checkpoint holds, how it is made and where it lies on the mesh."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan import partitioning
from flan.models.config import ModelConfig
from flan.models.transformer import Transformer
from flan.partitioning import MeshConfig
from flan.training.trainable import split


class TrainState(NamedTuple):
    """All that a step changes; the same tree also holds shapes or shardings of these arrays.

    Attributes:
      step: int32 scalar, gradient steps done.
      params: the network's parameters.
      opt_state: optax's, for those that are trained (`flan.training.trainable`).
    """

    step: Any
    params: Any
    opt_state: Any


def init_params(config: ModelConfig, key: jax.Array) -> Any:
    """Fresh parameters. Traceable; jit it with output shardings for large models."""
    return _variables(config, key)["params"]


def _variables(config: ModelConfig, key: jax.Array) -> Any:
    ones = jnp.ones((1, 8), jnp.int32)
    return Transformer(config).init(key, ones, ones)


def param_shardings(config: ModelConfig, mesh: Mesh, mesh_config: MeshConfig) -> Any:
    """A NamedSharding for each parameter; ValueError where sizes do not divide."""
    shapes = jax.eval_shape(lambda: _variables(config, jax.random.key(0)))
    logical = partitioning.logical_axes(shapes["params_axes"])
    shardings = partitioning.mesh_sharding(mesh, mesh_config, logical)
    partitioning.check_divisible(mesh, shapes["params"], shardings)
    return shardings


def state_shardings(
    config: ModelConfig, tx: optax.GradientTransformation, mesh: Mesh, mesh_config: MeshConfig
) -> TrainState:
    """A NamedSharding for each leaf of the train state."""
    params = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    shardings = param_shardings(config, mesh, mesh_config)
    by_path = {
        _names(path): (leaf.shape, sharding.spec)
        for (path, leaf), sharding in zip(
            jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(shardings), strict=True
        )
    }
    opt_shapes = jax.eval_shape(tx.init, split(config, params)[0])

    def place(path: Any, leaf: Any) -> NamedSharding:
        names = _names(path)
        suffixes = (names[i:] for i in range(len(names)))
        shape, spec = next((by_path[s] for s in suffixes if s in by_path), ((), PartitionSpec()))
        return NamedSharding(mesh, _spec_for(leaf.shape, shape, spec))

    opt_state = jax.tree_util.tree_map_with_path(place, opt_shapes)
    return TrainState(NamedSharding(mesh, PartitionSpec()), shardings, opt_state)


def _names(path: Any) -> tuple[str, ...]:
    """The dictionary keys on a tree path: an optimizer repeats its parameters' keys."""
    return tuple(str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey))


def _spec_for(
    shape: tuple[int, ...], param_shape: tuple[int, ...], spec: PartitionSpec
) -> PartitionSpec:
    """Layout of an optimizer array: the parameter's own, less the axis that factoring removed."""
    axes = [*spec, *[None] * (len(param_shape) - len(spec))]
    if shape == param_shape:
        return spec
    for removed in range(len(param_shape)):
        if shape == param_shape[:removed] + param_shape[removed + 1 :]:
            return PartitionSpec(*axes[:removed], *axes[removed + 1 :])
    return PartitionSpec()


def create_state(
    config: ModelConfig,
    tx: optax.GradientTransformation,
    seed: int,
    mesh: Mesh,
    mesh_config: MeshConfig,
) -> TrainState:
    """A fresh state, made in place on the mesh, the same numbers on any mesh."""
    shardings = state_shardings(config, tx, mesh, mesh_config)

    def make(key: jax.Array) -> TrainState:
        params = init_params(config, key)
        return TrainState(jnp.zeros((), jnp.int32), params, tx.init(split(config, params)[0]))

    with partitioning.use_mesh(mesh, mesh_config):
        return jax.jit(make, out_shardings=shardings)(jax.random.key(seed))


def abstract_state(
    config: ModelConfig,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    mesh_config: MeshConfig,
) -> TrainState:
    """Shapes, dtypes and shardings of the state, for restoring into."""
    shardings = state_shardings(config, tx, mesh, mesh_config)
    params = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    opt_state = jax.eval_shape(tx.init, split(config, params)[0])
    shapes = TrainState(jax.ShapeDtypeStruct((), jnp.int32), params, opt_state)
    return jax.tree.map(
        lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding),
        shapes,
        shardings,
    )
