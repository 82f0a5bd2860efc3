"""LoRA and soft prompts in the network: where they begin, what they are equal to."""

from __future__ import annotations

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.models import ModelConfig, Transformer
from flan.models.adapters import LORA_TARGETS, Lora, SoftPrompt, choose_adapter
from flan.models.decoding import admit, advance, empty_slots, unrolled
from flan.models.merge import merged
from flan.models.sampling import Decoding
from flan.training.trainable import join, split

LAMDA = ModelConfig(vocab_size=61, num_layers=2, d_model=16, num_heads=2, d_head=8, d_ff=24)
# Grouped queries, rotation, tied and scaled embeddings, biases and norms: all shapes together.
LLAMA = dataclasses.replace(
    LAMDA,
    num_heads=4,
    num_kv_heads=2,
    positions="rope",
    activation="silu",
    tie_embeddings=True,
    scale_attention=True,
    scale_embeddings=True,
    qkv_bias=True,
    qk_norm=True,
)
CONFIGS = pytest.mark.parametrize("config", [LAMDA, LLAMA], ids=["lamda", "llama"])
LORA = Lora(rank=3, alpha=6.0)
PROMPT = SoftPrompt(3)


@functools.cache
def shapes(config: ModelConfig):
    ones = jnp.ones((1, 4), jnp.int32)
    return jax.eval_shape(lambda: Transformer(config).init(jax.random.key(0), ones, ones))["params"]


def parameters(config: ModelConfig, seed: int = 0):
    """Random parameters, the same for the same leaf whatever the adapter; B of LoRA is zero."""

    def make(path, leaf):
        name = jax.tree_util.keystr(path)
        rng = np.random.default_rng([seed, *name.encode()])
        size = 0.0 if "lora_b" in name else leaf.shape[-2] ** -0.5 if leaf.ndim > 1 else 1.0
        return jnp.asarray(size * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(make, shapes(config))


@functools.cache
def forward(config: ModelConfig):
    return jax.jit(Transformer(config).apply)


def logits(config, params, tokens, **arguments):
    return np.asarray(forward(config)({"params": params}, tokens, **arguments))


def tokens(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 61, shape).astype(np.int32)


def trained(config):
    """Parameters whose adapter is no longer what it began as."""
    some, frozen = split(config, parameters(config))
    rng = np.random.default_rng(5)
    moved = jax.tree.map(lambda p: p + 0.1 * rng.normal(size=p.shape).astype(np.float32), some)
    return join(moved, frozen)


def test_a_fresh_b_is_zero_and_a_is_not():
    config = dataclasses.replace(LAMDA, num_layers=1, adapter=Lora(rank=2, targets="out"))
    ones = jnp.ones((1, 4), jnp.int32)
    made = jax.jit(Transformer(config).init)(jax.random.key(0), ones, ones)["params"]
    out = made["layers"]["self_attention"]["out"]
    assert not out["lora_b"].any()
    assert out["lora_a"].all()


@CONFIGS
def test_lora_begins_as_the_network_itself_bit_for_bit(config):
    with_lora = dataclasses.replace(config, adapter=LORA)
    _, frozen = split(with_lora, parameters(with_lora))
    read = tokens(2, 12)
    np.testing.assert_array_equal(
        logits(with_lora, parameters(with_lora), read), logits(config, frozen, read)
    )


@CONFIGS
def test_merged_lora_computes_the_same(config):
    with_lora = dataclasses.replace(config, adapter=LORA)
    params, read = trained(with_lora), tokens(2, 12)
    before = logits(with_lora, params, read)
    plain, plain_config = merged(jax.tree.map(jnp.copy, params), with_lora)
    assert plain_config == config
    np.testing.assert_allclose(logits(config, plain, read), before, rtol=2e-5, atol=2e-5)
    assert not np.allclose(before, logits(config, split(with_lora, params)[1], read), atol=1e-2)
    assert merged(plain, config) == (plain, config)


def test_lora_computes_what_its_formula_says():
    config = dataclasses.replace(LAMDA, adapter=Lora(rank=2, alpha=5.0, targets="wo,query"))
    params = trained(config)
    layer = params["layers"]["mlp"]["wo"]
    assert set(params["layers"]["mlp"]["wi_0"]) == {"kernel"}
    before = {name: np.asarray(leaf, np.float64) for name, leaf in layer.items()}
    expected = before["kernel"] + 2.5 * before["lora_a"] @ before["lora_b"]
    plain, _ = merged(jax.tree.map(jnp.copy, params), config)
    np.testing.assert_allclose(plain["layers"]["mlp"]["wo"]["kernel"], expected, atol=1e-6)


@CONFIGS
@pytest.mark.parametrize("adapter", [LORA, Lora(2, targets=["key", "wo"]), PROMPT], ids=repr)
def test_parameters_are_counted_exactly(config, adapter):
    config = dataclasses.replace(config, adapter=adapter)
    some, frozen = split(config, shapes(config))
    count = [sum(p.size for p in jax.tree.leaves(tree)) for tree in (some, frozen)]
    assert count == [config.num_trained, config.plain.num_parameters]
    assert sum(count) == config.num_parameters
    assert jax.tree.structure(join(some, frozen)) == jax.tree.structure(shapes(config))


def test_adapters_stay_float32_in_a_bfloat16_network():
    config = dataclasses.replace(LAMDA, adapter=LORA, param_dtype="bfloat16", dtype="bfloat16")
    some, frozen = split(config, trained(config))
    assert {p.dtype for p in jax.tree.leaves(some)} == {jnp.dtype("float32")}
    assert {p.dtype for p in jax.tree.leaves(frozen)} == {jnp.dtype("bfloat16")}
    plain, _ = merged(join(some, jax.tree.map(jnp.copy, frozen)), config)
    assert {p.dtype for p in jax.tree.leaves(plain)} == {jnp.dtype("bfloat16")}


def test_dropout_of_lora_is_for_training_alone():
    sure = dataclasses.replace(LAMDA, adapter=LORA)
    config = dataclasses.replace(LAMDA, adapter=dataclasses.replace(LORA, dropout_rate=0.5))
    assert (config.drops, sure.drops) == (True, False)
    params, read = trained(config), tokens(2, 12)
    still = logits(config, params, read)
    np.testing.assert_array_equal(still, logits(sure, params, read))
    moved = logits(config, params, read, rngs={"dropout": jax.random.key(1)})
    assert not np.allclose(moved, still, atol=1e-3)


# Soft prompts


def as_tokens(config, ids):
    """Parameters whose soft prompt is what the embedding has for some tokens."""
    with_prompt = dataclasses.replace(config, adapter=SoftPrompt(len(ids)))
    params = parameters(with_prompt)
    embedder = params["token_embedder"]
    params["token_embedder"] = {**embedder, "soft_prompt": embedder["embedding"][np.array(ids)]}
    return with_prompt, params


@CONFIGS
def test_a_soft_prompt_of_token_embeddings_is_those_tokens(config):
    hard = [7, 30, 11]
    with_prompt, params = as_tokens(config, hard)
    read = tokens(2, 8)
    both = [np.tile(ids, (2, 1)) for ids in (hard, with_prompt.prompt_ids)]
    plain = split(with_prompt, params)[1]
    expected = logits(config, plain, np.concatenate([both[0], read], 1))
    found = logits(with_prompt, params, np.concatenate([both[1], read], 1))
    assert found.shape[-1] == 61
    np.testing.assert_allclose(found, expected, atol=1e-5)


@CONFIGS
def test_each_packed_example_has_its_own_prompt(config):
    config = dataclasses.replace(config, adapter=PROMPT)
    params = trained(config)
    one, two = tokens(1, 4), tokens(1, 5, seed=2)
    prompt = np.array([config.prompt_ids])
    row = np.concatenate([prompt, one, prompt, two], 1)
    segments = np.repeat([[1, 2]], [7, 8], axis=1)
    positions = np.concatenate([np.arange(7), np.arange(8)])[None]
    packed = logits(config, params, row, decoder_segment_ids=segments, decoder_positions=positions)
    for part, text in ((packed[:, :7], one), (packed[:, 7:], two)):
        alone = logits(config, params, np.concatenate([prompt, text], 1))
        np.testing.assert_allclose(part, alone, atol=2e-5)


@CONFIGS
def test_decoding_reads_the_prompt_from_the_cache(config):
    config = dataclasses.replace(config, adapter=PROMPT)
    params = jax.tree.map(lambda p: 2 * p, trained(config))
    network = unrolled(Transformer(config), params)
    text = np.concatenate([config.prompt_ids, tokens(4)]).astype(np.int32)
    slots = empty_slots(*network, 1, len(text) + 4, 4)
    zero = np.zeros(1, np.int32)
    slots = admit(*network, slots, zero, text[None], np.array([7]), zero, start_id=0)
    slots = advance(*network, slots, jnp.int32(4), jnp.int32(0), Decoding(), (1,))
    written = slots.written[0, : slots.lengths[0]].tolist()
    so_far = np.concatenate([[0], text, written])[None]
    best = logits(config, params, so_far).argmax(-1)[0, len(text) :]
    assert written == best[: len(written)].tolist()
    assert max(written) < 61


# Settings


def test_settings_travel_as_json():
    for adapter in (LORA, Lora(1, 1.0, "wo", 0.5), PROMPT, None):
        config = dataclasses.replace(LLAMA, adapter=adapter)
        assert ModelConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
        assert hash(config) == hash(ModelConfig.from_json(config.to_json()))
    old = LAMDA.to_json()
    del old["adapter"]
    assert ModelConfig.from_json(old) == LAMDA


def test_the_same_targets_are_the_same_adapter():
    assert Lora(targets="wo, query,wo") == Lora(targets=["query", "wo"])
    assert Lora().targets == LORA_TARGETS
    made = {"lora": Lora, "prompt": SoftPrompt}
    assert choose_adapter("lora", **made) == Lora()
    assert choose_adapter("prompt", **made) == SoftPrompt()
    assert choose_adapter(None, **made) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lora(targets="quary"), "Did you mean 'query'"),
        (lambda: Lora(targets="q_proj"), r"unknown target of LoRA 'q_proj'.*Known: query, key"),
        (lambda: Lora(targets=[]), "targets is empty"),
        (lambda: Lora(targets=""), "unknown target"),
        (lambda: Lora(rank=0), "rank must be 1 or more, got 0"),
        (lambda: Lora(alpha=0.0), "alpha must be above 0"),
        (lambda: Lora(alpha=float("nan")), "alpha must be above 0"),
        (lambda: Lora(dropout_rate=1.0), "below 1, got 1.0"),
        (lambda: SoftPrompt(0), "length must be 1 or more, got 0"),
        (lambda: SoftPrompt(init="random_"), "Did you mean 'random'"),
        (lambda: choose_adapter("lore", Lora, SoftPrompt), "Did you mean 'lora'"),
        (lambda: ModelConfig.from_json({**LAMDA.to_json(), "adapter": "lora"}), "must be null"),
        (
            lambda: ModelConfig.from_json({**LAMDA.to_json(), "adapter": {"kind": "lora", "r": 1}}),
            "other entries than expected",
        ),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
