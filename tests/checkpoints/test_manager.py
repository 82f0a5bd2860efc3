"""Checkpoints: exact, on any mesh, and honest about what is broken."""

from __future__ import annotations

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.checkpoints import layout
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.integrity import describe, verify
from flan.checkpoints.manager import (
    CheckpointError,
    CheckpointManager,
    DamagedCheckpointError,
    check_same_model,
    quiet_orbax,
)
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.damage import flip_array_bits, flip_bits, index_file
from flan.testing.tiny import TINY_MODEL
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.state import abstract_state, create_state

TX = make_optimizer(OptimizerConfig())
quiet_orbax()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with checkpoints of steps 3 and 6, made on one device."""
    folder = tmp_path_factory.mktemp("model")
    mesh = make_mesh(MeshConfig(1), jax.devices()[:1])
    state = create_state(TINY_MODEL, TX, 0, mesh, MeshConfig(1))
    manager = CheckpointManager(folder)
    for step in (3, 6):
        manager.save(state._replace(step=jnp.int32(step)), {"seed": step})
    manager.close()
    layout.write_model_config(folder, TINY_MODEL)
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_checkpoint_comes_back_bit_for_bit_on_another_mesh(folder):
    config = MeshConfig(2, 2, 2)
    mesh = make_mesh(config)
    abstract = abstract_state(TINY_MODEL, TX, mesh, config)
    manager = CheckpointManager(folder, read_only=True)
    state, metadata = manager.restore(abstract)
    fresh = create_state(TINY_MODEL, TX, 0, mesh, config)
    assert int(state.step) == 6
    assert metadata == {"seed": 6}
    pairs = zip(jax.tree.leaves(state[1:]), jax.tree.leaves(fresh[1:]), strict=True)
    for found, expected in pairs:
        np.testing.assert_array_equal(found, expected)
        assert found.sharding == expected.sharding


def test_loading_for_inference_needs_the_folder_only(folder):
    newest = load_for_inference(folder)
    assert (newest.step, newest.model_config) == (6, TINY_MODEL)
    named = load_for_inference(folder / layout.CHECKPOINTS / "3")
    assert (named.step, named.metadata) == (3, {"seed": 3})
    assert layout.split_step(folder) == (folder, None)


def test_averaged_parameters_are_read_where_they_were_kept(folder, tmp_path):
    tx = make_optimizer(OptimizerConfig(ema_decay=0.9, clip_norm=1.0))
    mesh = make_mesh(MeshConfig(2, 2, 2))
    state = create_state(TINY_MODEL, tx, 0, mesh, MeshConfig(2, 2, 2))
    doubled = jax.tree.map(lambda p: 2 * p, state.params)
    state = state._replace(opt_state=state.opt_state._replace(ema=doubled))
    manager = CheckpointManager(tmp_path)
    manager.save(state, {})
    manager.close()
    layout.write_model_config(tmp_path, TINY_MODEL)
    plain, averaged = load_for_inference(tmp_path), load_for_inference(tmp_path, ema=True)
    for one, two in zip(
        jax.tree.leaves(plain.params), jax.tree.leaves(averaged.params), strict=True
    ):
        np.testing.assert_array_equal(2 * one, two)
    with pytest.raises(CheckpointError, match=r"6 keeps no averaged parameters.*ema_decay"):
        load_for_inference(folder, ema=True)


def test_a_missing_step_is_answered_with_those_there_are(folder):
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 5; it has \[3, 6\]"):
        load_for_inference(folder, 5)


def test_folders_without_a_model_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nowhere"):
        load_for_inference(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no model\.json"):
        load_for_inference(tmp_path)
    layout.write_model_config(tmp_path, TINY_MODEL)
    with pytest.raises(CheckpointError, match="holds no finished checkpoint"):
        load_for_inference(tmp_path)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES = {
    "flipped bits": flip_array_bits,
    "flipped bit of the index": lambda folder: flip_bits(index_file(folder), 64),
    "flipped metadata": lambda folder: flip_bits(folder / "metadata/metadata", 9),
    "truncated": lambda folder: truncate(index_file(folder)),
    "truncated metadata": lambda folder: truncate(folder / "metadata/metadata"),
    "lost file": lambda folder: index_file(folder).unlink(),
    "lost arrays": lambda folder: empty(folder / "state/ocdbt.process_0/d"),
    "lost metadata": lambda folder: shutil.rmtree(folder / "metadata"),
    "lost state": lambda folder: shutil.rmtree(folder / "state"),
    "empty": empty,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_reported_by_name_and_the_one_before_offered(copy, damage):
    DAMAGES[damage](copy / layout.CHECKPOINTS / "6")
    with pytest.raises(DamagedCheckpointError, match=r"checkpoints/6 cannot be read") as error:
        load_for_inference(copy)
    assert (error.value.step, error.value.before) == (6, 3)
    assert f"step 3 is the one before it ({copy / layout.CHECKPOINTS / '3'})" in str(error.value)
    assert load_for_inference(copy, 3).step == 3


def test_the_first_checkpoint_has_none_before_it(copy):
    DAMAGES["flipped bits"](copy / layout.CHECKPOINTS / "3")
    with pytest.raises(DamagedCheckpointError, match="there is none before it"):
        load_for_inference(copy, 3)
    assert load_for_inference(copy).step == 6


def test_a_flipped_bit_of_the_optimizer_is_found_where_the_optimizer_is_read(copy):
    mesh = make_mesh(MeshConfig(1), jax.devices()[:1])
    abstract = abstract_state(TINY_MODEL, TX, mesh, MeshConfig(1))
    manager = CheckpointManager(copy, read_only=True)
    state, _ = manager.restore(abstract, 6)
    saved = describe(state._asdict())
    leaves, tree = jax.tree.flatten(state.opt_state)
    place = next(i for i, leaf in enumerate(leaves) if leaf.size > 8)
    leaves[place] = leaves[place].at[(0,) * leaves[place].ndim].add(1e-30)
    changed = state._replace(opt_state=jax.tree.unflatten(tree, leaves))
    verify(state._asdict(), saved)
    with pytest.raises(ValueError, match=r"opt_state/.* is not what was saved"):
        verify(changed._asdict(), saved)


def test_setting_checkpoints_aside_deletes_nothing(copy):
    manager = CheckpointManager(copy)
    manager.set_aside([6])
    assert manager.steps() == [3]
    assert (copy / layout.DAMAGED / "6" / "state").is_dir()
    shutil.copytree(copy / layout.CHECKPOINTS / "3", copy / layout.CHECKPOINTS / "6")
    manager.close()
    manager = CheckpointManager(copy)
    manager.set_aside([6])
    assert sorted(p.name for p in (copy / layout.DAMAGED).iterdir()) == ["6", "6.2"]
    manager.close()


@pytest.mark.parametrize("text", ["{", "[]", '{"num_layers": 2}', '{"experts": 8}'])
def test_a_hostile_model_file_is_refused(copy, text):
    (copy / layout.MODEL_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"model\.json"):
        load_for_inference(copy)


def test_what_a_killed_save_left_is_no_checkpoint(copy):
    half = copy / layout.CHECKPOINTS / "9.orbax-checkpoint-tmp"
    shutil.copytree(copy / layout.CHECKPOINTS / "6", half)
    assert CheckpointManager(copy, read_only=True).steps() == [3, 6]
    manager = CheckpointManager(copy)
    assert manager.steps() == [3, 6]
    mesh = make_mesh(MeshConfig(1), jax.devices()[:1])
    state = create_state(TINY_MODEL, TX, 0, mesh, MeshConfig(1))
    manager.save(state._replace(step=jnp.int32(9)), {})
    manager.close()
    assert manager.steps() == [3, 6, 9]
    assert not half.exists()


def test_models_of_another_shape_are_told_apart_entry_by_entry(tmp_path):
    other = dataclasses.replace(TINY_MODEL, d_model=48, num_layers=3, dtype="bfloat16")
    with pytest.raises(CheckpointError) as error:
        check_same_model(TINY_MODEL, other, tmp_path)
    message = str(error.value)
    assert "d_model is 32 there, 48 here" in message
    assert "num_layers is 2 there, 3 here" in message
    assert "dtype" not in message


def test_a_vocabulary_is_copied_whole_and_once(tmp_path):
    source, model = tmp_path / "source", tmp_path / "model"
    source.mkdir()
    model.mkdir()
    (source / "a").write_text("1")
    layout.copy_vocabulary(source, model)
    (source / "a").write_text("2")
    layout.copy_vocabulary(source, model)
    assert (model / layout.VOCABULARY / "a").read_text() == "1"
    assert [p.name for p in model.iterdir()] == [layout.VOCABULARY]
