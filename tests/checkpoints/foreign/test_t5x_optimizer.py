"""Adafactor's statistics between T5X's names and ours: the next update is the same."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from foreign_models import as_tree, random_parameters

from flan import partitioning
from flan.checkpoints import layout
from flan.checkpoints.foreign.detect import open_foreign
from flan.checkpoints.foreign.import_model import import_model
from flan.checkpoints.foreign.lazy_save import save_parameters
from flan.checkpoints.foreign.our_model import OurModel
from flan.checkpoints.foreign.t5x_export import export_t5x, write_t5x
from flan.checkpoints.foreign.t5x_files import open_arrays
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.cli.main import main
from flan.data.vocabulary import train_sentencepiece
from flan.models.config import ModelConfig
from flan.models.transformer import Transformer
from flan.training.adafactor import AdafactorState
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.state import TrainState

quiet_orbax()

# Sides on both sides of T5X's threshold of 128; `out` is square, `wo` is not.
CONFIG = ModelConfig(
    vocab_size=384, num_layers=2, d_model=128, num_heads=4, d_head=32, d_ff=144, relative_buckets=16
)
SMALL = dataclasses.replace(CONFIG, d_model=32, d_head=8, d_ff=48)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5x_optimizer") / "vocabulary"
    texts = [f"The {a} is in the {b}." for a in ("dog", "cat", "cow") for b in ("park", "barn")]
    train_sentencepiece(texts * 20, folder, 380, shrink=True)
    return folder


def axes_of(config):
    """Path -> logical axes of our parameters."""
    ones = np.ones((1, 4), np.int32)
    shapes = jax.eval_shape(lambda: Transformer(config).init(jax.random.key(0), ones, ones))
    named = partitioning.logical_axes(shapes["params_axes"])
    leaves = jax.tree_util.tree_leaves_with_path(named, is_leaf=lambda x: not isinstance(x, dict))
    return {"/".join(e.key for e in path): tuple(axes) for path, axes in leaves}


def t5x_statistics(grad, axes, by_name):
    """What T5X keeps after a first update, in its own terms: rows, columns, what is batched."""
    square = np.square(grad) + 1e-30
    roles = ["row" if a == "embed" else "batch" if a == "layers" else "column" for a in axes]
    none = np.zeros(1, np.float32)
    if by_name and "layers" in axes:
        rows = [i for i, role in enumerate(roles) if role == "row"]
        columns = [i for i, role in enumerate(roles) if role == "column"]
    elif grad.ndim == 2 and min(grad.shape) >= 128:
        small, large = (0, 1) if grad.shape[0] <= grad.shape[1] else (1, 0)
        rows, columns = [small], [large]
    else:
        rows = columns = []
    if not rows or not columns:
        return {"v_row": none, "v_col": none, "v": square, "m": none}
    row, column = square.mean(tuple(columns)), square.mean(tuple(rows))
    return {"v_row": row, "v_col": column, "v": none, "m": none}


def t5x_tree(flat, grads, axes, axis):
    """A T5X train state; `axis` counts layers, or None for a name for each layer."""
    target, states = {}, {}
    for path, x in flat.items():
        stacked = path.startswith("layers/")
        if stacked and axis is None:
            parts = {
                path.replace("layers/", f"layers_{i}/", 1): (x[i], grads[path][i], axes[path][1:])
                for i in range(len(x))
            }
        elif stacked:
            names = list(axes[path])
            names.insert(axis, names.pop(0))
            parts = {path: (*(np.moveaxis(a, 0, axis) for a in (x, grads[path])), names)}
        else:
            parts = {path: (x, grads[path], axes[path])}
        for name, (value, grad, named) in parts.items():
            target[f"decoder/{name}"] = value
            for key, kept in t5x_statistics(grad, named, axis is not None).items():
                states[f"decoder/{name}/{key}"] = kept.astype(np.float32)
    state = {"step": np.int32(1), "param_states": as_tree(states)}
    return {"target": as_tree(target), "state": state}


def write_orbax(folder, tree):
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=True)) as checkpointer:
        checkpointer.save((folder / "state").resolve(), args=ocp.args.PyTreeSave(tree))


def abstract_state(config, tx):
    params = as_tree({k: jnp.zeros(v.shape) for k, v in random_parameters(config).items()})
    return jax.eval_shape(lambda: TrainState(jnp.int32(0), params, tx.init(params)))


def restored(folder, config, tx):
    reader = CheckpointManager(folder, read_only=True)
    try:
        return reader.restore(abstract_state(config, tx))[0]
    finally:
        reader.close()


def first_update(config, tx):
    """What our Adafactor keeps after an update with the numbers of seed 1: their squares' means."""
    square = {k: np.square(x) + 1e-30 for k, x in random_parameters(config, seed=1).items()}
    shapes = jax.eval_shape(tx.init, as_tree(square))
    means = {"v_row": lambda x: x.mean(-1), "v_col": lambda x: x.mean(-2), "v": lambda x: x}
    return shapes._replace(
        step=np.int32(1),
        m=jax.tree.map(lambda s: np.zeros(s.shape), shapes.m),
        **{
            name: jax.tree.map(
                lambda s, x, mean=mean: np.zeros(1) if s.shape == (1,) else mean(x),
                getattr(shapes, name),
                as_tree(square),
            )
            for name, mean in means.items()
        },
    )


@pytest.mark.parametrize(
    ("config", "axis"), [(SMALL, 0), (SMALL, 1), (CONFIG, None)], ids=["axis0", "axis1", "layers"]
)
def test_imported_statistics_are_those_of_our_first_update(config, axis, vocabulary, tmp_path):
    flat, grads = random_parameters(config), random_parameters(config, seed=1)
    write_orbax(tmp_path / "checkpoint_1", t5x_tree(flat, grads, axes_of(config), axis))
    model = open_foreign("t5x", tmp_path / "checkpoint_1", vocabulary)
    assert "with Adafactor's state" in model.notes
    import_model(model, tmp_path / "ours")
    tx = make_optimizer(OptimizerConfig())
    found = restored(tmp_path / "ours", config, tx)
    assert found.step == found.opt_state.step == 1
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        found.opt_state,
        first_update(config, tx),
    )


def test_an_optimizer_that_factors_otherwise_is_left_out_with_the_reason(vocabulary, tmp_path):
    # By itself a layer of 32 x 48 is not factored in T5X, the embedding is.
    config = dataclasses.replace(SMALL, d_model=128, d_head=32, d_ff=48)
    flat = random_parameters(config)
    tree = t5x_tree(flat, flat, axes_of(config), None)
    write_orbax(tmp_path / "checkpoint_1", tree)
    model = open_foreign("t5x", tmp_path / "checkpoint_1", vocabulary)
    assert model.opt_state is None
    assert model.step == 1
    assert any("it factors other parameters" in note for note in model.notes)
    tree["state"]["param_states"] = {"mu": np.zeros(3)}
    write_orbax(tmp_path / "checkpoint_2", tree)
    notes = open_foreign("t5x", tmp_path / "checkpoint_2", vocabulary).notes
    assert any("it keeps mu, no Adafactor's statistics" in note for note in notes)


def our_folder(folder, config, vocabulary, optimizer):
    """A model folder after two updates, its state, and the next gradient."""
    tx = make_optimizer(optimizer)
    params = as_tree(random_parameters(config))
    state = TrainState(jnp.int32(0), params, jax.jit(tx.init)(params))

    @jax.jit
    def step(state, grads):
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)

    for seed in (1, 2):
        state = step(state, as_tree(random_parameters(config, seed)))
    folder.mkdir()
    layout.write_model_config(folder, config)
    layout.copy_vocabulary(vocabulary, folder)
    manager = CheckpointManager(folder)
    manager.save(state, {})
    manager.close()
    return tx, state


@pytest.mark.parametrize(
    "optimizer",
    [
        OptimizerConfig(factored=False),
        OptimizerConfig(momentum=0.9, clip_norm=1.0, ema_decay=0.9),
    ],
    ids=["unfactored", "chained_momentum"],
)
def test_there_and_back_bit_for_bit(optimizer, vocabulary, tmp_path):
    flat = random_parameters(SMALL)
    shapes = jax.eval_shape(make_optimizer(optimizer).init, as_tree(flat))
    rng = np.random.default_rng(3)
    kept = jax.tree.map(lambda s: rng.random(s.shape, np.float32).astype(s.dtype), shapes)
    (tmp_path / "ours").mkdir()
    layout.write_model_config(tmp_path / "ours", SMALL)
    layout.copy_vocabulary(vocabulary, tmp_path / "ours")
    save_parameters(tmp_path / "ours", flat, {}, 2, kept)
    model = OurModel(tmp_path / "ours")
    assert export_t5x(model, tmp_path / "t5x")
    model.close()
    back = open_foreign("t5x", tmp_path / "t5x" / "checkpoint_2", tmp_path / "t5x" / "vocabulary")
    import_model(back, tmp_path / "back")
    plain = make_optimizer(dataclasses.replace(optimizer, clip_norm=None, ema_decay=None))
    found = restored(tmp_path / "back", SMALL, plain)
    assert found.step == 2
    jax.tree.map(np.testing.assert_array_equal, found.params, as_tree(flat))
    is_adafactor = lambda x: isinstance(x, AdafactorState)  # noqa: E731
    leaves = jax.tree.leaves(kept, is_leaf=is_adafactor)
    expected = next(leaf for leaf in leaves if is_adafactor(leaf))._replace(step=np.int32(2))
    jax.tree.map(np.testing.assert_array_equal, found.opt_state, expected)


def test_the_command_exports_and_says_what_it_does(vocabulary, tmp_path, capsys):
    our_folder(tmp_path / "ours", SMALL, vocabulary, OptimizerConfig(name="adamw"))
    source, out = str(tmp_path / "ours"), tmp_path / "out"
    assert main(["convert", source, str(out), "--to", "t5x"]) == 0
    text = capsys.readouterr().out
    assert "a fresh Adafactor's state" in text
    assert f"{out}/checkpoint_2" in text
    assert "ModelConfig.d_model = 32" in (out / "model.gin").read_text()
    stored = open_arrays(out / "checkpoint_2")
    assert stored.step == 2
    assert not any(a.read().any() for a in stored.statistics.values())
    assert main(["convert", source, str(tmp_path / "o"), "--to", "t5x", "--dtype", "bfloat16"]) == 2
    assert main(["convert", str(out), str(tmp_path / "o"), "--to", "t5x"]) == 2
    assert not (tmp_path / "o").exists()


def test_nothing_is_left_of_an_export_with_numbers_that_are_none(vocabulary, tmp_path):
    flat = random_parameters(SMALL)
    flat["layers/mlp/wo/kernel"][1, 3, 4] = np.nan
    folder = tmp_path / "ours"
    folder.mkdir()
    layout.write_model_config(folder, SMALL)
    layout.copy_vocabulary(vocabulary, folder)
    manager = CheckpointManager(folder)
    manager.save(TrainState(jnp.int32(0), jax.tree.map(jnp.asarray, as_tree(flat)), {}), {})
    manager.close()
    model = OurModel(folder)
    with pytest.raises(ValueError, match="wo/kernel holds numbers that are not finite"):
        export_t5x(model, tmp_path / "out")
    model.close()
    assert not list(tmp_path.glob("*out*"))


def test_the_next_update_is_an_installed_t5xs_in_both_directions(vocabulary, tmp_path):
    adafactor = pytest.importorskip("t5x.adafactor", reason="T5X is not installed (docs/t5x.md)")
    from jax.sharding import PartitionSpec

    definition = adafactor.Adafactor(
        multiply_by_parameter_scale=False,
        beta1=0.9,
        logical_factor_rules=adafactor.standard_logical_factor_rules(),
    )
    axes = {k: PartitionSpec(*v) for k, v in axes_of(CONFIG).items()}
    definition.set_param_axes(as_tree(axes))
    # So large that float32's rounding of the parameters is small beside an update.
    optimizer = OptimizerConfig(learning_rate=0.5, momentum=0.9)

    @jax.jit
    def step(theirs, grads):
        return theirs.apply_gradient(grads, learning_rate=optimizer.learning_rate)

    theirs = jax.jit(definition.create)(as_tree(random_parameters(CONFIG)))
    for seed in (1, 2):
        theirs = step(theirs, as_tree(random_parameters(CONFIG, seed)))
    # Ours after the same two updates, exported, is T5X's state.
    tx, _ = our_folder(tmp_path / "ours", CONFIG, vocabulary, optimizer)
    model = OurModel(tmp_path / "ours")
    write_t5x(model, tmp_path, 2)
    model.close()
    stored = open_arrays(tmp_path / "checkpoint_2")
    kept = theirs.state_dict()
    for tree, arrays in (
        (kept["target"], stored.parameters),
        (kept["state"]["param_states"], stored.statistics),
    ):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        assert len(leaves) == len(arrays)
        for path, leaf in leaves:
            found = arrays["/".join(e.key for e in path)].read()
            np.testing.assert_allclose(found, leaf, rtol=1e-5, atol=3e-6)
    # T5X's, imported, takes the same third update.
    (tmp_path / "run").mkdir()
    write_orbax(tmp_path / "run" / "checkpoint_2", jax.tree.map(np.asarray, kept))
    import_model(
        open_foreign("t5x", tmp_path / "run" / "checkpoint_2", vocabulary), tmp_path / "imported"
    )
    found = restored(tmp_path / "imported", CONFIG, tx)
    grads = as_tree(random_parameters(CONFIG, 3))
    updates, _ = jax.jit(tx.update)(grads, found.opt_state, found.params)
    jax.tree.map(
        lambda after, before, update: np.testing.assert_allclose(
            np.asarray(after) - np.asarray(before), update, atol=3e-6
        ),
        step(theirs, grads).target,
        theirs.target,
        updates,
    )
