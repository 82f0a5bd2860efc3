"""Loading a checkpoint with its vocabulary, and refusing a foreign one."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.checkpoints.manager import CheckpointManager
from flan.data.vocabulary import load_vocabulary
from flan.evaluation.model import check_vocabulary, default_label, load_model
from flan.models.config import ModelConfig
from flan.training.state import TrainState


def test_a_checkpoint_is_loaded_with_its_vocabulary(checkpoint):
    folder, params = checkpoint
    model = load_model(folder)
    assert (model.label, model.step) == ("model-5", 5)
    assert model.vocabulary.fingerprint == load_vocabulary(folder / "vocabulary").fingerprint
    jax.tree.map(np.testing.assert_array_equal, model.params, params)
    assert load_model(folder / "checkpoints" / "5", label="other").label == "other"
    assert model.network.config.dtype == "float32"
    assert load_model(folder, dtype="bfloat16").network.config.dtype == "bfloat16"


def test_a_checkpoint_may_say_that_it_reads_no_start_token(checkpoint, tmp_path):
    folder, params = checkpoint
    assert load_model(folder).start_id == 0
    other = tmp_path / "foreign"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("checkpoints"))
    manager = CheckpointManager(other)
    manager.save(TrainState(jnp.int32(0), params, {}), {"reads_start": False})
    manager.close()
    assert load_model(other).start_id is None


def test_a_checkpoint_says_that_it_is_a_prefix_lm(checkpoint, tmp_path):
    folder, params = checkpoint
    assert not load_model(folder).network.prefix_lm
    other = tmp_path / "prefix"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("checkpoints"))
    manager = CheckpointManager(other)
    told = {"objective": {"prefix_lm": True}}
    manager.save(TrainState(jnp.int32(0), params, {}), told)
    manager.close()
    model = load_model(other)
    assert model.network.prefix_lm
    assert model.decoder[0].prefix_lm


def test_mistakes_are_named(checkpoint, tmp_path):
    folder, _ = checkpoint
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_model(tmp_path / "none")
    with pytest.raises(ValueError, match="no checkpoint of step 9"):
        load_model(folder, step=9)
    with pytest.raises(ValueError, match="cannot name a file"):
        load_model(folder, label="../tuned")
    with pytest.raises(FileNotFoundError, match="no vocabulary"):
        load_model(folder, vocabulary=tmp_path / "none")


def test_another_vocabulary_is_refused(checkpoint):
    folder, _ = checkpoint
    vocabulary = load_vocabulary(folder / "vocabulary")
    config = ModelConfig(
        vocab_size=vocabulary.vocab_size, num_layers=1, d_model=8, num_heads=1, d_head=8, d_ff=8
    )
    check_vocabulary(vocabulary, config)
    check_vocabulary(vocabulary, config, vocabulary.fingerprint)
    with pytest.raises(ValueError, match="is not the one"):
        check_vocabulary(vocabulary, config, "0" * 64)
    for size in (vocabulary.vocab_size - 1, vocabulary.vocab_size + 1024):
        with pytest.raises(ValueError, match=rf"{vocabulary.vocab_size} pieces.*{size} rows"):
            check_vocabulary(vocabulary, dataclasses.replace(config, vocab_size=size))


def test_a_vocabulary_that_loses_line_ends_is_refused(characters):
    class OneLine(type(characters)):
        def encode(self, text):
            return super().encode(text.replace("\n", " "))

    config = ModelConfig(vocab_size=96, num_layers=1, d_model=8, num_heads=1, d_head=8, d_ff=8)
    check_vocabulary(characters, config)
    with pytest.raises(ValueError, match="loses line ends"):
        check_vocabulary(OneLine(), config)


def test_labels_from_folders(tmp_path):
    assert default_label(tmp_path / "my model (2)", 30) == "my-model-2-30"
    assert default_label(tmp_path / "run" / "checkpoints" / "30", 30) == "run-30"
    assert default_label(tmp_path / "..." / "{}", 1) == "model-1"


def test_weights_that_are_no_numbers_are_refused(checkpoint, tmp_path):
    folder, params = checkpoint
    other = tmp_path / "diverged"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("checkpoints"))
    bad = jax.tree.map(lambda x: x, params)
    embedding = bad["token_embedder"]["embedding"]
    bad["token_embedder"] = {"embedding": embedding.at[1, 2].set(jnp.inf)}
    manager = CheckpointManager(other)
    manager.save(TrainState(jnp.int32(3), bad, {}), {})
    manager.close()
    with pytest.raises(ValueError, match="token_embedder/embedding holds numbers that are not"):
        load_model(other)
