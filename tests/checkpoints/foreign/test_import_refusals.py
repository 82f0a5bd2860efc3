"""Foreign models that are damaged, hostile or of another network: refused, and no folder left."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import struct
import types

import numpy as np
import pytest
from foreign_models import FAMILIES, LLAMA, random_parameters, write_gguf, write_hugging_face

from flan.checkpoints.foreign.detect import detect, open_foreign
from flan.checkpoints.foreign.import_model import (
    check_tensors,
    check_vocabulary_size,
    import_model,
)
from flan.checkpoints.manager import quiet_orbax

quiet_orbax()


def convert(source, out):
    import_model(open_foreign(*detect(source)), out)


def bad(message, source, tmp_path):
    out = tmp_path / "out" / "ours"
    with pytest.raises((ValueError, OSError), match=message):
        convert(source, out)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def spoil(change):
    def apply(writer, tensors):
        change(tensors)

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("blk.1.attn_k.weight"), "blk.1.attn_k.weight is missing"),
        (
            lambda t: t.update({"blk.2.ffn_up.weight": t["blk.2.ffn_up.weight"][:, :32]}),
            r"blk.2.ffn_up.weight has shape \[96, 32\], expected \[96, 64\]",
        ),
        (
            lambda t: t.update({"blk.0.attn_q.bias": np.zeros(64, np.float32)}),
            r"blk.0.attn_q.bias \[64\] belongs to no parameter",
        ),
        (lambda t: t["output_norm.weight"].fill(np.nan), "output_norm.weight holds numbers"),
        (lambda t: t.pop("token_embd.weight"), "token_embd.weight' is missing"),
        (
            lambda t: t.update({"token_embd.weight": t["token_embd.weight"][:200]}),
            "the tokenizer has 300 tokens, the embedding 200 rows",
        ),
    ],
)
def test_a_gguf_file_with_wrong_tensors_is_refused(change, message, tmp_path):
    flat = random_parameters(LLAMA)
    bad(message, write_gguf(tmp_path / "m.gguf", LLAMA, flat, change=spoil(change)), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.add_expert_count(8), "has experts"),
        (lambda w: w.add_rope_dimension_count(8), "a rotation of part of each head"),
        (lambda w: w.add_rope_scaling_type(gguf_scaling()), "rotary frequencies scaled by 'yarn'"),
    ],
)
def test_a_gguf_model_that_the_network_cannot_be_is_refused(change, message, tmp_path):
    def apply(writer, tensors):
        change(writer)

    flat = random_parameters(LLAMA)
    bad(message, write_gguf(tmp_path / "m.gguf", LLAMA, flat, change=apply), tmp_path)


def gguf_scaling():
    import gguf

    return gguf.RopeScalingType.YARN


def test_unknown_gguf_kinds_are_named(tmp_path):
    flat = random_parameters(LLAMA)
    bad(
        "unknown architecture 'lama'",
        write_gguf(tmp_path / "a.gguf", LLAMA, flat, arch="lama"),
        tmp_path,
    )
    bad(
        "unknown pre-tokenizer 'smol'",
        write_gguf(tmp_path / "b.gguf", LLAMA, flat, pre="smol"),
        tmp_path,
    )


def test_every_cut_of_a_gguf_file_is_refused(tmp_path):
    config = dataclasses.replace(LLAMA, num_layers=1)
    whole = write_gguf(tmp_path / "m.gguf", config, random_parameters(config)).read_bytes()
    cut = tmp_path / "cut.gguf"
    header = len(whole) - 4 * config.num_parameters
    for size in [*range(0, header, max(header // 60, 1)), len(whole) - 40]:
        cut.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut\.gguf|no model that can be read"):
            open_foreign(*detect(cut))


def test_hostile_counts_of_a_gguf_file_allocate_nothing(tmp_path):
    config = dataclasses.replace(LLAMA, num_layers=1)
    whole = write_gguf(tmp_path / "m.gguf", config, random_parameters(config)).read_bytes()
    hostile = tmp_path / "hostile.gguf"
    for place in (8, 16, 24):  # tensors, entries, length of the first key
        hostile.write_bytes(whole[:place] + struct.pack("<Q", 2**62) + whole[place + 8 :])
        with pytest.raises(ValueError, match="more than the file holds"):
            open_foreign("gguf", hostile)
    rng = np.random.default_rng(0)
    for _ in range(60):  # whatever else is wrong: an error, no crash
        spoiled = bytearray(whole)
        for place in rng.integers(0, 12_000, 3):
            spoiled[place] = rng.integers(256)
        hostile.write_bytes(spoiled)
        with contextlib.suppress(ValueError):
            open_foreign("gguf", hostile)


def hf(tmp_path, **extra):
    tmp_path.mkdir(exist_ok=True)
    return write_hugging_face(tmp_path / "hf", LLAMA, random_parameters(LLAMA), **extra)


def test_a_damaged_hugging_face_folder_is_refused(tmp_path):
    folder = hf(tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    bad("no sound safetensors file.*cut short", folder, tmp_path)
    weights.write_bytes(struct.pack("<Q", 2**62) + whole[8:])
    bad("no sound safetensors file", folder, tmp_path)
    weights.unlink()
    bad("neither model.safetensors nor", folder, tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    bad("a pickle, which can run code", folder, tmp_path)
    weights.write_bytes(whole)
    (folder / "tokenizer.json").unlink()
    bad("travels with its tokenizer", folder, tmp_path)
    (folder / "config.json").write_text("[]")
    bad("expected an object", folder, tmp_path)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"model.norm.weight": "../../../etc/passwd"}, "is no name of a safetensors file"),
        ({"model.norm.weight": "/etc/x.safetensors"}, "is no name of a safetensors file"),
        ({"model.norm.weight": "gone.safetensors"}, "gone.safetensors is missing"),
        ({"model.nose.weight": "model.safetensors"}, "it is not"),
        (["x"], "no index of tensors"),
    ],
)
def test_a_hostile_index_opens_nothing_elsewhere(weight_map, message, tmp_path):
    folder = hf(tmp_path)
    text = json.dumps({"weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(text)
    bad(message, folder, tmp_path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"model_type": "lama"}, "unknown model_type 'lama'. Did you mean 'llama'"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rotary frequencies scaled by 'yarn'"),
        (
            {"rope_scaling": {"rope_type": "llama3", "factor": 8}},
            "should have low_freq_factor, high_freq_factor",
        ),
        ({"rope_scaling": {"type": "linear", "factor": "8"}}, "RopeScaling.factor must be above 0"),
        ({"attention_bias": True}, "model.layers.0.self_attn.k_proj.bias is missing"),
        ({"quantization_config": {}}, "quantized weights"),
        ({"hidden_act": "relu"}, "activation 'relu'"),
        ({"num_hidden_layers": "three"}, "num_hidden_layers should be a whole number"),
        ({"num_hidden_layers": 10**6}, "num_layers 1,000,000 is beyond any model's"),
        ({"num_hidden_layers": 5}, r"model.layers.3.mlp.up_proj.weight is missing.*10 more"),
        ({"vocab_size": 2**40}, "vocab_size 1,099,511,627,776 is beyond"),
        ({"vocab_size": 2**20}, r"shape \[300, 64\], expected \[1048576, 64\]"),
        ({"eos_token_id": 400}, "eos_id 400 is no token of the 300"),
    ],
)
def test_a_config_that_cannot_be_is_refused(extra, message, tmp_path):
    bad(message, hf(tmp_path, **extra), tmp_path)


@pytest.mark.parametrize(
    ("divisors", "message"),
    [
        (np.ones(7), r"rope_freqs.weight has shape \[7\], expected \[8\]"),
        (np.linspace(1, 8, 8), "otherwise than Llama 3.1"),
        (np.full(8, np.nan), "otherwise than Llama 3.1"),
    ],
)
def test_divisors_of_another_rule_are_refused(divisors, message, tmp_path):
    def add(writer, tensors):
        tensors["rope_freqs.weight"] = divisors.astype(np.float32)

    bad(
        message,
        write_gguf(tmp_path / "m.gguf", LLAMA, random_parameters(LLAMA), change=add),
        tmp_path,
    )


@pytest.mark.parametrize(
    ("stored", "number", "dtype"), [("float64", 1e300, "float32"), ("float32", 3.4e38, "bfloat16")]
)
def test_a_number_too_large_for_the_dtype_is_refused(stored, number, dtype, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = hf(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].astype(stored)
    tensors["model.norm.weight"][5] = number
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=f"model.norm.weight holds .* not finite in {dtype}"):
        import_model(open_foreign("hf", folder), tmp_path / "ours", dtype=dtype)
    assert not (tmp_path / "ours").exists()


def test_a_bias_after_attention_must_be_zero(tmp_path):
    from safetensors.numpy import load_file, save_file

    config = FAMILIES["qwen2"]
    llama = {"model_type": "llama", "attention_bias": True}
    folder = write_hugging_face(tmp_path / "hf", config, random_parameters(config), **llama)
    assert open_foreign("hf", folder).config == config
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.self_attn.o_proj.bias"] = np.zeros(64, np.float32)
    save_file(tensors, folder / "model.safetensors")
    check_tensors(open_foreign("hf", folder))
    tensors["model.layers.1.self_attn.o_proj.bias"][7] = 0.5
    save_file(tensors, folder / "model.safetensors")
    bad("layers.1.self_attn.o_proj.bias is not zero", folder, tmp_path)


def test_norms_that_bfloat16_rounds_are_noted(tmp_path):
    config = FAMILIES["gemma"]
    model = open_foreign(
        "hf", write_hugging_face(tmp_path / "hf", config, random_parameters(config))
    )
    assert model.notes_for("float32") == []
    assert "norms are rounded" in model.notes_for("bfloat16")[0]
    assert open_foreign("hf", hf(tmp_path / "llama")).notes_for("bfloat16") == []


def test_padding_of_a_tokenizer_that_came_with_the_weights(tmp_path):
    model = open_foreign("hf", hf(tmp_path))
    config = dataclasses.replace(LLAMA, vocab_size=102_400)
    model = dataclasses.replace(model, config=config)
    sizes = {100_015: True, 90_000: False}
    for tokens, fits in sizes.items():
        vocabulary = types.SimpleNamespace(vocab_size=tokens)
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match="another model"):
            check_vocabulary_size(vocabulary, model)
        with pytest.raises(ValueError, match="another model"):
            check_vocabulary_size(vocabulary, dataclasses.replace(model, own_tokenizer=False))


def test_an_existing_folder_and_what_is_no_model_are_refused(tmp_path):
    folder = hf(tmp_path)
    with pytest.raises(ValueError, match="is there already"):
        convert(folder, folder)
    with pytest.raises(FileNotFoundError, match="no model at"):
        detect(tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "readme.txt"):
        with pytest.raises(ValueError, match="no model that can be read"):
            detect(path)
