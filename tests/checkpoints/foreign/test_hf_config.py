"""`config.json` read as transformers reads it: what is not stated, stated twice, or not possible."""

from __future__ import annotations

import pytest
from foreign_models import FAMILIES, LLAMA

from flan.checkpoints.foreign.hf_config import out_biases, read_config, write_config
from flan.models.rope_scaling import RopeScaling

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def read(kind="llama", leave_out=(), **extra):
    _, values = write_config(LLAMA)
    values = {k: v for k, v in values.items() if k not in leave_out}
    return read_config({**values, "model_type": kind, **extra})[1]


@pytest.mark.parametrize(
    ("entry", "factor"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 2.0),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e4}}, 2.0),
        (
            {
                "rope_parameters": {"rope_theta": 5e4, "rope_type": "linear", "factor": 2.0},
                "rope_scaling": {"type": "linear", "factor": 2.0},
            },
            2.0,
        ),
        ({"rope_parameters": {}, "rope_scaling": {"type": "linear", "factor": 4.0}}, 4.0),
    ],
)
def test_linear_scaling_in_older_and_newer_files(entry, factor):
    config = read(**entry)
    assert (config.rope_scaling, config.rope_theta) == (RopeScaling("linear", factor), 5e4)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
                "rope_scaling": {"type": "yarn", "factor": 4.0},
            },
            "rope_type 'default', rope_scaling 'yarn'",
        ),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "kinds of layers"),
        ({"rope_scaling": [1]}, "rope_scaling should be an object"),
        ({"rope_scaling": {"rope_type": ["linear"]}}, "scaled by"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "a rotation of part"),
        ({"use_bidirectional_attention": True}, "attention to later tokens"),
        ({"quantization_config": {}}, "quantized weights"),
        ({"model_type": ["llama"]}, "unknown model_type"),
        ({"hidden_act": ["silu"]}, "activation .'silu'."),
        ({"head_dim": 17}, "d_head 17"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"rope_theta": float("inf")}, "rope_theta"),
        ({"rope_theta": 1e300}, "rope_theta"),
        ({"rope_theta": 1e-60}, "rope_theta"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"rms_norm_eps": float("inf")}, "norm_epsilon"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "factor"),
        ({"rope_scaling": {"type": "linear", "factor": True}}, "factor"),
        ({"rope_scaling": {"type": "linear", "factor": 10**400}}, "factor"),
        ({"rope_theta": 10**400}, "rope_theta"),
    ],
)
def test_what_cannot_be_is_named(extra, message):
    with pytest.raises(ValueError, match=message):
        read(**extra)


def test_what_is_nested_wins_and_null_is_nothing():
    nested = {"rope_type": "default", "rope_theta": 1e4}
    assert read(rope_theta=1e6, rope_parameters=nested).rope_theta == 1e4
    assert read(rope_theta=1e6, rope_parameters={"rope_theta": None}).rope_theta == 1e6
    assert read(rope_theta=None).rope_theta == 1e4
    config = read(quantization_config=None, partial_rotary_factor=None, rope_scaling=None)
    assert config == LLAMA


def test_llamas_scaling_knows_the_length_of_pretraining_as_transformers_does():
    def original(**extra):
        return read(**extra).rope_scaling.original_context

    length = "original_max_position_embeddings"
    assert original(rope_scaling=LLAMA3) == LLAMA.context_length
    assert original(rope_scaling={**LLAMA3, length: 32}) == 32
    assert original(rope_scaling={**LLAMA3, length: 32}, **{length: 64}) == 64


def test_what_a_family_leaves_out_is_what_transformers_takes():
    gemma = read("gemma", ["hidden_act", "head_dim", "max_position_embeddings"])
    assert (gemma.activation, gemma.d_head, gemma.context_length) == ("gelu", 256, 8192)
    assert read("qwen3", ["head_dim"]).d_head == 128
    assert read("llama", ["head_dim", "hidden_act"]) == LLAMA


@pytest.mark.parametrize(
    ("kind", "extra", "length"),
    [
        ("mistral", {"sliding_window": 64}, 64),
        ("mistral", {}, 4096),
        ("mistral", {"sliding_window": None}, 32_768),
        ("qwen2", {"use_sliding_window": True}, 4096),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 64}, 32_768),
        ("llama", {"sliding_window": 64}, 32_768),
    ],
)
def test_a_sliding_window_only_shortens_the_context(kind, extra, length):
    assert read(kind, max_position_embeddings=32_768, **extra).context_length == length


def test_biases_as_a_llama_has_them_are_those_of_qwen2():
    config = FAMILIES["qwen2"]
    assert write_config(config)[1]["model_type"] == "qwen2"
    _, values = write_config(config, qwen_tokenizer=False)
    assert (values["model_type"], values["attention_bias"]) == ("llama", True)
    assert read_config(values)[1] == config
    assert len(out_biases(config, values)) == config.num_layers
    assert out_biases(config, write_config(config)[1]) == []
