"""T5X decoder-only checkpoints, in the layouts that T5X writes."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from foreign_models import as_tree, byte_level_tokenizer, random_parameters

from flan.checkpoints.foreign.detect import detect, open_foreign
from flan.checkpoints.foreign.import_model import import_model
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.manager import quiet_orbax
from flan.data.vocabulary import load_vocabulary, train_sentencepiece
from flan.models.config import ModelConfig

quiet_orbax()

CONFIG = ModelConfig(
    vocab_size=384, num_layers=3, d_model=32, num_heads=4, d_head=8, d_ff=48, relative_buckets=16
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5x") / "vocabulary"
    texts = [f"The {a} is in the {b}." for a in ("dog", "cat", "cow") for b in ("park", "barn")]
    train_sentencepiece(texts * 20, folder, 380, shrink=True)
    return folder


def per_layer(flat):
    """T5X's example: `decoder/layers_0/...`."""
    tree = {}
    for path, x in flat.items():
        if path.startswith("layers/"):
            for i, part in enumerate(x):
                tree["decoder/" + path.replace("layers/", f"layers_{i}/", 1)] = part
        else:
            tree[f"decoder/{path}"] = x
    return as_tree(tree)


def scanned(axis):
    def apply(flat):
        return as_tree(
            {k: np.moveaxis(x, 0, axis) if k.startswith("layers/") else x for k, x in flat.items()}
        )

    return apply


def write_orbax(folder, target):
    import orbax.checkpoint as ocp

    state = {"target": target, "state": {"step": np.int32(7), "param_states": {"m": np.zeros(3)}}}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=True)) as checkpointer:
        checkpointer.save((folder / "state").resolve(), args=ocp.args.PyTreeSave(state))


def write_msgpack(folder, target):
    """References in the msgpack file, arrays as zarr beside it; small ones within."""
    import tensorstore as ts
    from flax import serialization

    def stored(node, keys):
        if isinstance(node, dict):
            return {k: stored(v, (*keys, k)) for k, v in node.items()}
        if node.size < 100:
            return node
        name = ".".join(("target", *keys))
        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": name},
            "metadata": {"shape": list(node.shape), "compressor": {"id": "gzip", "level": 1}},
        }
        place = {**spec, "kvstore": {"driver": "file", "path": f"{folder / name}/"}}
        ts.open(place, create=True, dtype=str(node.dtype)).result().write(node).result()
        return spec

    folder.mkdir(parents=True)
    optimizer = {"target": stored(target, ()), "state": {"step": np.int32(7), "param_states": {}}}
    content = serialization.to_bytes({"version": 3, "optimizer": optimizer})
    (folder / "checkpoint").write_bytes(content)


@pytest.mark.parametrize("write", [write_orbax, write_msgpack])
@pytest.mark.parametrize(
    "lay", [per_layer, scanned(0), scanned(1)], ids=["layers", "axis0", "axis1"]
)
def test_parameters_arrive_bit_for_bit(write, lay, vocabulary, tmp_path):
    flat = random_parameters(CONFIG)
    write(tmp_path / "run" / "checkpoint_7", lay(flat))
    write(tmp_path / "run" / "checkpoint_12", lay(flat))
    kind, path = detect(tmp_path / "run")
    assert (kind, path.name) == ("t5x", "checkpoint_12")
    import_model(open_foreign(kind, path, vocabulary), tmp_path / "ours")
    found = load_for_inference(tmp_path / "ours")
    assert found.model_config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, found.params, as_tree(flat))
    assert found.metadata["reads_start"] is True
    notes = " ".join(found.metadata["source"]["notes"])
    assert "left out: the optimizer's state" in notes
    assert "taken to be GELU" in notes


def test_tied_embeddings_and_grouped_heads_are_recognized(vocabulary, tmp_path):
    config = dataclasses.replace(CONFIG, tie_embeddings=True, num_kv_heads=2)
    write_msgpack(tmp_path / "checkpoint_1", per_layer(random_parameters(config)))
    assert open_foreign("t5x", tmp_path / "checkpoint_1", vocabulary).config == config


def test_what_is_wrong_is_said(vocabulary, tmp_path):
    flat = random_parameters(CONFIG)
    folder = tmp_path / "checkpoint_1"
    write_msgpack(folder, per_layer(flat))
    with pytest.raises(ValueError, match="--vocabulary FOLDER"):
        open_foreign("t5x", folder, None)
    wo = folder / "target.decoder.layers_1.mlp.wo.kernel"
    (wo / ".zarray").write_text("{}")
    with pytest.raises(ValueError, match="no sound zarr array"):
        open_foreign("t5x", folder, vocabulary)
    wo.rename(folder / "elsewhere")
    with pytest.raises(ValueError, match=r"layers_1/mlp/wo/kernel is missing"):
        open_foreign("t5x", folder, vocabulary)
    (folder / "checkpoint").write_bytes(b"\x80\x04")
    with pytest.raises(ValueError, match="is no T5X checkpoint"):
        open_foreign("t5x", folder, vocabulary)


def test_only_a_vocabularys_own_files_are_copied(vocabulary, tmp_path):
    write_msgpack(tmp_path / "checkpoint_1", per_layer(random_parameters(CONFIG)))
    tokenizer = tmp_path / "hf"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text(byte_level_tokenizer().to_str())
    (tokenizer / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    (tokenizer / "weights.bin").write_bytes(b"0" * 1000)
    own = tmp_path / "own"
    shutil.copytree(vocabulary, own)
    (own / "junk.bin").write_bytes(b"0" * 1000)
    for place, files in (
        (tokenizer, ["tokenizer.json", "tokenizer_config.json", "vocabulary.json"]),
        (
            tokenizer / "tokenizer.json",
            ["tokenizer.json", "tokenizer_config.json", "vocabulary.json"],
        ),
        (own, ["sentencepiece.model", "vocabulary.json"]),
        (own / "sentencepiece.model", ["sentencepiece.model"]),
    ):
        out = tmp_path / "out"
        out.mkdir()
        open_foreign("t5x", tmp_path / "checkpoint_1", place).write_vocabulary(out)
        assert sorted(p.name for p in out.iterdir()) == files
        assert load_vocabulary(out).fingerprint == load_vocabulary(place).fingerprint
        shutil.rmtree(out)


def test_a_lost_piece_of_a_parameter_is_no_zeros(vocabulary, tmp_path):
    folder = tmp_path / "checkpoint_1"
    write_msgpack(folder, per_layer(random_parameters(CONFIG)))
    wo = folder / "target.decoder.layers_1.mlp.wo.kernel"
    for piece in wo.iterdir():
        if piece.name != ".zarray":
            piece.unlink()
    model = open_foreign("t5x", folder, vocabulary)
    with pytest.raises(ValueError, match=r"layers_1.mlp.wo.kernel cannot be read"):
        import_model(model, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_sizes_beyond_any_model_are_refused(vocabulary, tmp_path):
    folder = tmp_path / "checkpoint_1"
    write_msgpack(folder, per_layer(random_parameters(CONFIG)))
    for array in folder.glob("target.decoder.layers_*.mlp.w*"):
        stated = json.loads((array / ".zarray").read_text())
        stated["shape"] = [n if n == 32 else 1 << 22 for n in stated["shape"]]
        (array / ".zarray").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match="d_ff 4,194,304 is beyond any model"):
        open_foreign("t5x", folder, vocabulary)


def test_a_missing_or_misshaped_array_leaves_no_folder(vocabulary, tmp_path):
    flat = random_parameters(CONFIG)
    tree = per_layer(flat)
    del tree["decoder"]["layers_2"]["mlp"]["wo"]
    tree["decoder"]["layers_1"]["mlp"]["wo"]["kernel"] = np.zeros((48, 31), np.float32)
    write_msgpack(tmp_path / "checkpoint_1", tree)
    model = open_foreign("t5x", tmp_path / "checkpoint_1", vocabulary)
    with pytest.raises(ValueError, match=r"wo/kernel has shape \[48, 31\].*wo/kernel is missing"):
        import_model(model, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(encoder=t["decoder"]), "encoder-decoder"),
        (lambda t: t["decoder"].pop("relpos_bias"), "has no relpos_bias/rel_embedding"),
        (lambda t: t["decoder"].pop("layers_0"), "are not numbered from 0"),
    ],
)
def test_other_networks_are_refused(change, message, vocabulary, tmp_path):
    tree = per_layer(random_parameters(CONFIG))
    change(tree)
    write_msgpack(tmp_path / "checkpoint_1", tree)
    with pytest.raises(ValueError, match=message):
        open_foreign("t5x", tmp_path / "checkpoint_1", vocabulary)
