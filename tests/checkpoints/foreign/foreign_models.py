"""Tiny made-up models in foreign formats, written by the formats' own libraries."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="safetensors is not installed")
pytest.importorskip("gguf", reason="gguf is not installed")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from flan.models.config import ModelConfig
from flan.models.rope_scaling import RopeScaling

TEXTS = [
    f"The {animal} in the {place} has {count} things.\n\nOPTIONS:\n- yes\n- no"
    for animal in ("dog", "cat", "horse")
    for place in ("park", "kitchen")
    for count in range(12)
]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 300

LLAMA = ModelConfig(
    vocab_size=VOCABULARY,
    num_layers=3,
    d_model=64,
    num_heads=4,
    d_head=16,
    d_ff=96,
    num_kv_heads=2,
    positions="rope",
    activation="silu",
    tie_embeddings=True,
    scale_attention=True,
    scale_logits=False,
    rope_theta=50_000.0,
    norm_epsilon=1e-5,
    context_length=256,
)
FAMILIES = {
    "llama": LLAMA,
    "llama_untied": dataclasses.replace(LLAMA, tie_embeddings=False, num_kv_heads=None),
    "llama_3": dataclasses.replace(LLAMA, rope_scaling=RopeScaling("llama3", 8.0)),
    "qwen2": dataclasses.replace(LLAMA, qkv_bias=True),
    "qwen3": dataclasses.replace(LLAMA, qk_norm=True, d_head=24),
    "gemma": dataclasses.replace(
        LLAMA, activation="gelu", scale_embeddings=True, d_head=32, norm_epsilon=1e-6
    ),
}


def byte_level_tokenizer(adds_start: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if adds_start:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
        )
    return tokenizer


def random_parameters(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Path -> numbers, norms near 1, large enough that logits differ clearly."""
    from flan.checkpoints.foreign.names import parameter_shapes

    rng = np.random.default_rng(seed)
    found = {}
    for path, shape in parameter_shapes(config).items():
        x = rng.normal(size=shape).astype(np.float32)
        if path.endswith("/scale"):
            x = 1 + x / 8
        elif path.endswith("/kernel"):
            x = x / np.float32(np.sqrt(shape[-2]))
        found[path] = x.astype(np.float32)
    return found


def as_tree(flat: dict[str, np.ndarray]) -> dict:
    tree: dict = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def hugging_face_tensors(config: ModelConfig, flat: dict) -> dict[str, np.ndarray]:
    from flan.checkpoints.foreign import hf_config, names

    family, _ = hf_config.write_config(config)
    found = {}
    for p in names.parameters(config, names.HUGGING_FACE, norm_offset=family.norm_offset):
        for layer, name in enumerate(p.parts):
            ours = flat[p.path][layer] if p.stacked else flat[p.path]
            found[name] = np.ascontiguousarray(p.change.to_theirs(ours))
    return found


def write_hugging_face(folder, config, flat, tokenizer=None, **extra):
    from safetensors.numpy import save_file

    from flan.checkpoints.foreign import hf_config

    folder.mkdir()
    save_file(hugging_face_tensors(config, flat), folder / "model.safetensors")
    _, values = hf_config.write_config(config)
    values |= {"eos_token_id": 2, "bos_token_id": 1, **extra}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "tokenizer.json").write_text((tokenizer or byte_level_tokenizer()).to_str())
    return folder


def write_gguf(path, config, flat, *, arch="llama", quantize=None, change=None, pre="smollm"):
    """A file as llama.cpp's converter writes it; `change` may spoil tensors and metadata."""
    import gguf
    from gguf import GGMLQuantizationType

    tokenizer = byte_level_tokenizer()
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(config.num_layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.d_head)
    writer.add_value_length(config.d_head)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    ids = tokenizer.get_vocab()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(sorted(ids, key=ids.__getitem__))
    writer.add_token_types([3 if t in SPECIAL else 1 for t in sorted(ids, key=ids.__getitem__)])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(2)
    writer.add_bos_token_id(1)
    tensors = gguf_tensors(config, flat, interleaved=arch == "llama")
    if config.rope_scaling is not None:
        tensors["rope_freqs.weight"] = config.rope_scaling.divisors(
            config.d_head, config.rope_theta
        )
    if change:
        change(writer, tensors)
    for name, x in tensors.items():
        if quantize and x.ndim == 2:
            kind = GGMLQuantizationType[quantize]
            writer.add_tensor(name, gguf.quants.quantize(x, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, x)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_tensors(config, flat, interleaved):
    """Our numbers under llama.cpp's names, rotary halves interleaved as its converter does."""
    from flan.checkpoints.foreign import names

    found = {}
    for p in names.parameters(config, names.GGUF):
        for layer, name in enumerate(p.parts):
            x = p.change.to_theirs(flat[p.path][layer] if p.stacked else flat[p.path])
            heads = {"attn_q": config.num_heads, "attn_k": config.kv_heads}
            count = heads.get(name.split(".")[-2]) if interleaved else None
            if count:
                x = x.reshape(count, 2, -1, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            found[name] = np.ascontiguousarray(x, np.float32)
    return found
