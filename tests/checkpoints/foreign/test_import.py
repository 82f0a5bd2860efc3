"""Import of foreign models: every number in its place, and no folder left by a bad one."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest
from foreign_models import (
    FAMILIES,
    LLAMA,
    as_tree,
    byte_level_tokenizer,
    hugging_face_tensors,
    random_parameters,
    write_gguf,
    write_hugging_face,
)

from flan.checkpoints import layout
from flan.checkpoints.foreign.detect import detect, open_foreign
from flan.checkpoints.foreign.import_model import (
    import_model,
)
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.integrity import describe
from flan.checkpoints.manager import CheckpointManager, DamagedCheckpointError, quiet_orbax
from flan.data.vocabulary import load_vocabulary
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.damage import flip_array_bits
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.start import with_initial_params
from flan.training.state import create_state

quiet_orbax()


def convert(source, out, **options):
    kind, source = detect(source)
    import_model(open_foreign(kind, source), out, **options)
    return load_for_inference(out)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_hugging_face_weights_arrive_bit_for_bit(name, tmp_path):
    config = FAMILIES[name]
    flat = random_parameters(config)
    if name == "gemma":  # its norms are stored less 1: exact for numbers with few bits
        flat = {k: v.astype(np.float16).astype(np.float32) for k, v in flat.items()}
    found = convert(write_hugging_face(tmp_path / "hf", config, flat), tmp_path / "ours")
    assert found.model_config == config
    assert_same(found.params, as_tree(flat))
    assert found.metadata["reads_start"] is False
    assert found.metadata["source"]["kind"].startswith("Hugging Face")
    assert (
        load_vocabulary(found.vocabulary_dir).encode("12")
        == byte_level_tokenizer().encode("12").ids
    )


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("llama", "llama"),
        ("llama", "llama_untied"),
        ("llama", "llama_3"),
        ("qwen2", "qwen2"),
        ("qwen3", "qwen3"),
        ("gemma", "gemma"),
    ],
)
def test_gguf_weights_arrive_bit_for_bit(arch, name, tmp_path):
    config = FAMILIES[name]
    flat = random_parameters(config)
    found = convert(write_gguf(tmp_path / "m.gguf", config, flat, arch=arch), tmp_path / "ours")
    assert found.model_config == config
    assert_same(found.params, as_tree(flat))


def test_an_imported_model_carries_checksums(tmp_path):
    found = convert(
        write_hugging_face(tmp_path / "hf", LLAMA, random_parameters(LLAMA)), tmp_path / "ours"
    )
    manager = CheckpointManager(tmp_path / "ours", read_only=True)
    saved = manager.described(0)[1]
    assert saved == describe({"step": np.int32(0), "params": found.params})
    flip_array_bits(tmp_path / "ours" / layout.CHECKPOINTS / "0")
    with pytest.raises(DamagedCheckpointError, match=r"checkpoints/0 cannot be read"):
        load_for_inference(tmp_path / "ours")


@pytest.mark.parametrize("quantize", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_quantized_weights_are_what_the_gguf_package_makes_of_them(quantize, tmp_path):
    config = dataclasses.replace(LLAMA, num_layers=1)
    flat = random_parameters(config)
    found = convert(
        write_gguf(tmp_path / "m.gguf", config, flat, quantize=quantize), tmp_path / "ours"
    )
    from gguf import GGMLQuantizationType, quants

    kind = GGMLQuantizationType[quantize]
    for path in ("token_embedder/embedding", "layers/mlp/wo/kernel"):
        x = flat[path][0].T if "kernel" in path else flat[path]
        expected = quants.dequantize(quants.quantize(x, kind), kind).astype(np.float32)
        node = found.params
        for key in path.split("/"):
            node = node[key]
        np.testing.assert_array_equal(node[0].T if "kernel" in path else node, expected)
    assert quantize in found.metadata["source"]["notes"][0]


def test_bfloat16_shards_are_read_and_written(tmp_path):
    from safetensors.numpy import save_file

    flat = {k: v.astype(jax.numpy.bfloat16) for k, v in random_parameters(LLAMA).items()}
    folder = write_hugging_face(tmp_path / "hf", LLAMA, random_parameters(LLAMA))
    tensors = list(hugging_face_tensors(LLAMA, flat).items())
    (folder / "model.safetensors").unlink()
    parts = {"a.safetensors": dict(tensors[:7]), "b.safetensors": dict(tensors[7:])}
    for name, part in parts.items():
        save_file(part, folder / name)
    index = {"weight_map": {t: name for name, part in parts.items() for t in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = convert(folder, tmp_path / "ours", dtype="bfloat16")
    assert found.model_config.param_dtype == "bfloat16"
    assert_same(found.params, as_tree(flat))


@pytest.mark.parametrize("adds_start", [True, False])
def test_a_tokenizers_own_start_token_decides(adds_start, tmp_path):
    flat = random_parameters(LLAMA)
    folder = write_hugging_face(tmp_path / "hf", LLAMA, flat, byte_level_tokenizer(adds_start))
    assert open_foreign("hf", folder).reads_start is adds_start
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": not adds_start}))
    assert open_foreign("hf", folder).reads_start is not adds_start


def test_training_starts_from_an_imported_model_on_a_mesh(tmp_path):
    flat = random_parameters(LLAMA)
    convert(write_hugging_face(tmp_path / "hf", LLAMA, flat), tmp_path / "ours")
    shape = MeshConfig(2, 2, 2)
    mesh = make_mesh(shape)
    state = create_state(LLAMA, make_optimizer(OptimizerConfig()), 0, mesh, shape)
    source = tmp_path / "ours"
    started = with_initial_params(state, source, LLAMA, mesh, shape, vocab_size=50, seed=0)
    assert_same(started.params, as_tree(flat))
    pairs = zip(jax.tree.leaves(started.params), jax.tree.leaves(state.params), strict=True)
    assert all(found.sharding == wanted.sharding for found, wanted in pairs)
