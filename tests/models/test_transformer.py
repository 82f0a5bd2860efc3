"""The network: packing, decoding, positions and parameter counts."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.models import ModelConfig, Transformer, layers
from flan.models.decoding import unrolled
from flan.models.positions import relative_buckets, rotary, toeplitz

LAMDA = ModelConfig(vocab_size=61, num_layers=3, d_model=32, num_heads=4, d_head=8, d_ff=64)
LLAMA = ModelConfig(
    vocab_size=61,
    num_layers=2,
    d_model=32,
    num_heads=4,
    d_head=8,
    d_ff=48,
    num_kv_heads=2,
    positions="rope",
    activation="silu",
    tie_embeddings=True,
    scale_attention=True,
    remat="full",
)
# The switches of Qwen2, Qwen3 and Gemma, which no one model has together.
OTHERS = dataclasses.replace(
    LLAMA, scale_logits=False, scale_embeddings=True, qkv_bias=True, qk_norm=True, remat="none"
)
CONFIGS = pytest.mark.parametrize("config", [LAMDA, LLAMA], ids=["lamda", "llama"])


@functools.cache
def parameters(config: ModelConfig):
    ones = jnp.ones((1, 4), jnp.int32)
    return jax.jit(Transformer(config).init)(jax.random.key(0), ones, ones)["params"]


@functools.cache
def compiled(config: ModelConfig):
    """`run(tokens, ...)` with the config's parameters, jitted."""
    run = jax.jit(Transformer(config).apply)
    return functools.partial(run, {"params": parameters(config)})


def tokens(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 61, shape).astype(np.int32)


@pytest.mark.parametrize("config", [LAMDA, LLAMA, OTHERS], ids=["lamda", "llama", "others"])
def test_parameter_count_is_exact(config):
    sizes = [p.size for p in jax.tree.leaves(parameters(config))]
    assert sum(sizes) == config.num_parameters


def test_the_papers_137b_shape_counts_137b():
    config = ModelConfig(32_000, 64, 8192, 128, 128, 65_536)
    assert 137.0e9 < config.num_parameters < 138.5e9


@CONFIGS
def test_examples_of_a_packed_row_do_not_see_each_other(config):
    run = compiled(config)
    first, second = tokens(1, 5), tokens(1, 7, seed=2)
    packed = np.concatenate([first, second, np.zeros((1, 2), np.int32)], axis=1)
    segments = np.array([[1] * 5 + [2] * 7 + [0] * 2])
    positions = np.array([[*range(5), *range(7), 0, 0]])
    logits = run(packed, packed, segments, positions)
    for part, place in ((first, slice(0, 5)), (second, slice(5, 12))):
        alone = run(part, part)
        np.testing.assert_allclose(logits[:, place], alone, atol=2e-5)


@CONFIGS
def test_options_share_a_prefix_and_do_not_see_each_other(config):
    run = compiled(config)
    prefix, options = tokens(1, 6), (tokens(1, 4, seed=2), tokens(1, 1, seed=3), tokens(1, 3))
    before = tokens(1, 3, seed=4)  # another example in the same row
    packed = np.concatenate([before, prefix, *options], axis=1)
    segments = np.array([[1] * 3 + [2] * 14])
    ids = np.array([[0] * 9 + [1] * 4 + [2] + [3] * 3])
    positions = np.array([[*range(3), *range(6), *range(6, 10), 6, *range(6, 9)]])
    logits = run(packed, None, segments, positions, decoder_option_ids=ids)
    start = 9
    for option in options:
        alone = run(np.concatenate([prefix, option], axis=1))
        place = slice(start, start + option.shape[1])
        np.testing.assert_allclose(logits[:, 3:9], alone[:, :6], atol=2e-5)
        np.testing.assert_allclose(logits[:, place], alone[:, 6:], atol=2e-5)
        start = place.stop
    with pytest.raises(ValueError, match="need decoder_positions"):
        run(packed, None, segments, decoder_option_ids=ids)


@CONFIGS
def test_the_future_and_padding_change_nothing(config):
    run = compiled(config)
    text = tokens(2, 8)
    changed = text.copy()
    changed[:, 5:] = tokens(2, 3, seed=9)
    one = run(text)
    two = run(changed)
    np.testing.assert_allclose(one[:, :5], two[:, :5], atol=1e-6)
    assert not np.allclose(one[:, 5:], two[:, 5:], atol=1e-3)


@CONFIGS
def test_prefix_lm_sees_the_whole_prefix_and_no_more(config):
    run = compiled(config)
    text = tokens(1, 8)
    prefix = np.array([[1, 1, 1, 1, 0, 0, 0, 0]])
    later = text.copy()
    later[0, 3] = (later[0, 3] + 1) % 61

    def prefix_run(x):
        return np.asarray(run(x, None, None, None, prefix))

    assert not np.allclose(prefix_run(text)[0, 0], prefix_run(later)[0, 0], atol=1e-4)
    end = text.copy()
    end[0, 6] = (end[0, 6] + 1) % 61
    np.testing.assert_allclose(prefix_run(text)[0, :6], prefix_run(end)[0, :6], atol=1e-6)


@CONFIGS
def test_logit_positions_pick_rows_of_the_full_logits(config):
    run = compiled(config)
    text = tokens(2, 8)
    places = np.array([[1, 6], [0, 7]], np.int32)
    full = run(text)
    some = run(text, logit_positions=places)
    np.testing.assert_allclose(some, np.take_along_axis(full, places[..., None], 1), atol=1e-6)


@CONFIGS
def test_layers_can_be_unrolled(config):
    text = tokens(2, 8)
    model, params = unrolled(Transformer(config), parameters(config))
    assert not model.scan_layers
    found = jax.jit(model.apply)({"params": params}, text)
    np.testing.assert_allclose(found, compiled(config)(text), atol=2e-5)


def test_relative_buckets_follow_t5():
    distance = np.array([-3, 0, 1, 15, 16, 17, 31, 64, 127, 128, 5000])
    # Sixteen exact ones, then 16 + floor(16 log(d / 16) / log(8)), at most 31.
    expected = [0, 0, 1, 15, 16, 16, 21, 26, 31, 31, 31]
    assert relative_buckets(distance, 32, 128).tolist() == expected


def test_toeplitz_places_values_by_distance_and_sums_gradients():
    values = jnp.arange(1.0, 6.0)[None]
    square = np.asarray(toeplitz(values)[0])
    for i in range(5):
        for j in range(5):
            assert square[i, j] == max(i - j, 0) + 1
    grad = jax.grad(lambda v: jnp.sum(jnp.tril(toeplitz(v)[0])))(values)
    assert grad[0].tolist() == [5, 4, 3, 2, 1]


def test_rotary_depends_on_distance_only():
    x = jax.random.normal(jax.random.key(0), (1, 2, 1, 8))

    def product(shift: int) -> float:
        turned = rotary(x, jnp.array([[3, 7]]) + shift, 10_000.0)
        return float(jnp.vdot(turned[0, 0, 0], turned[0, 1, 0]))

    assert product(0) == pytest.approx(product(100), abs=1e-4)
    assert product(0) != pytest.approx(float(jnp.vdot(x[0, 0, 0], x[0, 1, 0])), abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_kv_heads": 3}, "no multiple of num_kv_heads 3"),
        ({"positions": "learned"}, "positions must be one of"),
        ({"num_layers": 0}, "num_layers must be 1 or more"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{**LAMDA.to_json(), **change})


def test_config_survives_json():
    assert ModelConfig.from_json(LLAMA.to_json()) == LLAMA
    with pytest.raises(ValueError, match="unknown entries"):
        ModelConfig.from_json({**LLAMA.to_json(), "experts": 8})


def count_products(jaxpr) -> int:
    """Matrix products of a jaxpr and all that it holds, a scan's body once."""
    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name == "dot_general"
        found += sum(map(count_products, jax.core.jaxprs_in_params(equation.params)))
    return found


def test_a_remat_policy_decides_what_is_computed_again():
    counts = {}
    for remat in ("none", "dots", "full"):
        model = Transformer(dataclasses.replace(LAMDA, remat=remat))

        def loss(params, model=model):
            return model.apply({"params": params}, tokens(1, 4)).sum()

        made = jax.make_jaxpr(jax.grad(loss))(parameters(LAMDA))
        counts[remat] = count_products(made.jaxpr)
    # Attention's two with `dots`; all seven projections of a layer, too, with `full`.
    assert counts["none"] < counts["dots"] <= counts["full"] - 6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_a_product_are_those_of_jax(dtype):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 3, 8)).astype(dtype)
    kernel = jax.random.normal(keys[1], (8, 5)).astype(dtype)
    weights = jax.random.normal(keys[2], (2, 3, 5))

    def loss(product, x, kernel):
        return jnp.vdot(weights, product(x, kernel))

    def theirs(x, kernel):
        return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)

    ours = jax.grad(loss, (1, 2))(layers._product, x, kernel)
    for one, two in zip(ours, jax.grad(loss, (1, 2))(theirs, x, kernel), strict=True):
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        np.testing.assert_allclose(
            one.astype("float32"), two.astype("float32"), rtol=1e-5 if dtype == "float32" else 1e-2
        )
