"""Every attention kernel gives what plain attention gives, on one device and dealt out to eight."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan.models import Transformer, attention_kernels, blocked_attention
from flan.models.attention import attend, attention_mask
from flan.models.attention_kernels import Kernel, attend_with, choose_kernel
from flan.models.config import ModelConfig
from flan.models.decoding import prefill
from flan.partitioning import MeshConfig, make_mesh, use_mesh

MODEL = ModelConfig(vocab_size=16, num_layers=1, d_model=8, num_heads=4, d_head=8, d_ff=8)
ROPE = dataclasses.replace(MODEL, positions="rope")
MESHES = {
    "one": (MeshConfig(1), 1),
    "eight": (MeshConfig(data=2, fsdp=2, model=2), 8),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocked_attention, "BLOCK", 128)


@pytest.fixture(params=MESHES)
def on_mesh(request):
    config, count = MESHES[request.param]
    with use_mesh(make_mesh(config, jax.devices()[:count]), config):
        yield


def rows(length, kv_heads, biases, dtype="float32"):
    """Query, key, value, bias, and segments of three examples in each of four rows."""
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(4, length, 4, 8), (4, length, kv_heads, 8), (4, length, kv_heads, 8)]
    qkv = [jax.random.normal(k, s).astype(dtype) for k, s in zip(keys, shapes, strict=False)]
    bias = jax.random.normal(keys[3], (biases, 4, length, length)) if biases else None
    segments = np.sort(np.random.default_rng(0).integers(1, 4, (4, length)), axis=1)
    return [*qkv, bias], jnp.asarray(segments)


def value_and_gradients(function, arrays):
    """Its result, and the gradients of a fixed weighting of that."""
    weights = jax.random.normal(jax.random.key(1), arrays[0].shape)

    @jax.jit
    def both(arrays):
        def loss(a):
            mixed = function(*a)
            return jnp.sum(mixed.astype(jnp.float32) * weights), mixed

        return jax.value_and_grad(loss, has_aux=True)(arrays)

    (_, mixed), gradients = both(arrays)
    return [mixed, *jax.tree.leaves(gradients)]


@pytest.mark.parametrize(
    ("kv_heads", "biases", "both_ways", "in_turn"),
    [(2, 1, False, True), (4, 4, True, False)],
)
def test_blocked_is_plain_attention(on_mesh, kv_heads, biases, both_ways, in_turn):
    length = 300  # blocks of 128, 128 and 44
    arrays, segments = rows(length, kv_heads, biases)
    both = (jnp.arange(length) < 200)[None].repeat(4, 0) if both_ways else None
    mask = attention_mask(length, segments, both)
    kernel = Kernel("blocked", not both_ways, in_turn)
    found = value_and_gradients(lambda *a: attend_with(kernel, *a, mask, 0.3), arrays)
    expected = value_and_gradients(lambda *a: attend(*a, mask, 0.3), arrays)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_blocked_in_bfloat16_is_as_near_as_plain_attention():
    arrays, segments = rows(300, 2, 0, "bfloat16")
    mask = attention_mask(300, segments, None)
    exact = jax.tree.map(lambda a: a.astype(jnp.float32), arrays)
    truth = value_and_gradients(lambda *a: attend(*a, mask, 0.3), exact)
    plain = value_and_gradients(lambda *a: attend(*a, mask, 0.3), arrays)
    kernel = Kernel("blocked", True, True)
    found = value_and_gradients(lambda *a: attend_with(kernel, *a, mask, 0.3), arrays)
    for one, other, true in zip(found, plain, truth, strict=True):
        off = [float(jnp.linalg.norm(x.astype(jnp.float32) - true)) for x in (one, other)]
        assert off[0] < 1.5 * off[1]


def test_blocked_keeps_no_weights_for_the_backward_pass():
    arrays, segments = rows(300, 4, 0)
    mask = attention_mask(300, segments, None)
    kernel = Kernel("blocked", True, True)
    for policy in (None, jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims):
        function = lambda *a: attend_with(kernel, *a, mask, 1.0)  # noqa: E731
        if policy is not None:
            function = jax.checkpoint(function, policy=policy)
        _, backward = jax.vjp(function, *arrays)
        assert max(x.size for x in jax.tree.leaves(backward)) <= max(arrays[0].size, mask.size)


def test_splash_is_plain_attention(on_mesh):
    arrays, segments = rows(256, 2, 0)
    mask = attention_mask(256, segments, None)
    found = value_and_gradients(lambda *a: attend_with(Kernel("splash"), *a, segments, 0.3), arrays)
    expected = value_and_gradients(lambda *a: attend(*a, mask, 0.3), arrays)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_cudnn_is_asked_for_plain_attention(monkeypatch):
    arrays, segments = rows(64, 2, 1)
    mask = attention_mask(64, segments, None)
    asked, real = [], jax.nn.dot_product_attention

    def elsewhere(*args, implementation, **kwargs):  # no GPU here: XLA, with the same meaning
        asked.append(implementation)
        return real(*args, implementation="xla", **kwargs)

    monkeypatch.setattr(jax.nn, "dot_product_attention", elsewhere)
    found = value_and_gradients(lambda *a: attend_with(Kernel("cudnn"), *a, mask, 0.3), arrays)
    expected = value_and_gradients(lambda *a: attend(*a, mask, 0.3), arrays)
    assert set(asked) == {"cudnn"}
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_the_model_is_the_same_through_any_kernel():
    tokens = jax.random.randint(jax.random.key(0), (2, 512), 1, 16)
    params = jax.jit(Transformer(ROPE).init)(jax.random.key(1), tokens[:, :4])["params"]
    with use_mesh(make_mesh(MeshConfig(1), jax.devices()[:1]), MeshConfig(1)):
        logits = [
            jax.jit(Transformer(dataclasses.replace(ROPE, attention=name)).apply)(
                {"params": params}, tokens
            )
            for name in ("plain", "auto", "splash")
        ]
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-5)


@pytest.mark.parametrize(
    ("platform", "changes", "length", "causal", "expected"),
    [
        ("cpu", {}, 1280, True, "blocked"),
        ("cpu", {}, 1280, False, "blocked"),
        ("cpu", {}, 256, True, "plain"),
        ("cpu", {"attention": "plain"}, 1280, True, "plain"),
        ("tpu", {}, 1280, True, "plain"),  # a relative bias
        ("tpu", {"positions": "rope"}, 1280, True, "splash"),
        ("tpu", {"positions": "rope"}, 1280, False, "plain"),
        ("tpu", {"positions": "rope"}, 1300, True, "plain"),
        ("gpu", {"dtype": "bfloat16"}, 1280, True, "cudnn"),
        ("gpu", {"dtype": "bfloat16", "d_head": 12}, 1280, True, "plain"),
        ("gpu", {"dtype": "bfloat16"}, 1101, True, "plain"),
        ("gpu", {}, 1280, True, "plain"),
    ],
)
def test_a_backend_gets_its_fastest(monkeypatch, platform, changes, length, causal, expected):
    monkeypatch.setattr(attention_kernels, "_place", lambda: (platform, {}))
    config = dataclasses.replace(MODEL, **changes)
    assert choose_kernel(config, 4, length, causal, options=False).name == expected


@pytest.mark.parametrize("length", [256, 1280])
def test_sums_behind_scores_are_steady_on_cpus_alone(monkeypatch, length):
    for platform in ("cpu", "gpu", "tpu"):
        monkeypatch.setattr(attention_kernels, "_place", lambda p=platform: (p, {}))
        for options in (True, False):
            kernel = choose_kernel(MODEL, 4, length, True, options)
            assert kernel.steady == (options and platform == "cpu")


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"attention": "splash"}, (4, 1280, True, False), "takes no bias"),
        ({"attention": "splash", "positions": "rope"}, (4, 1280, False, False), "no prefix-LM"),
        ({"attention": "splash", "positions": "rope"}, (4, 1280, True, True), "no options"),
        ({"attention": "splash", "positions": "rope"}, (4, 1000, True, False), "have 1000"),
        ({"attention": "cudnn"}, (4, 1280, True, False), "needs an NVIDIA GPU"),
        ({"attention": "blocked"}, (3, 1280, True, False), "3 rows cannot be dealt out to 4"),
    ],
)
def test_a_kernel_that_cannot_says_why(changes, arguments, message):
    config, count = MESHES["eight"]
    with (
        use_mesh(make_mesh(config, jax.devices()[:count]), config),
        pytest.raises(ValueError, match=message),
    ):
        choose_kernel(dataclasses.replace(MODEL, **changes), *arguments)


def test_without_a_mesh_many_devices_get_no_kernel_of_their_own():
    assert choose_kernel(MODEL, 4, 1280, True, options=False).name == "plain"
    with pytest.raises(ValueError, match="no mesh"):
        choose_kernel(dataclasses.replace(MODEL, attention="blocked"), 4, 1280, True, False)


def test_a_prompt_is_one_text_for_a_kernel_that_takes_segments():
    # Token 0 marks padding in training, in a prompt it is a token like any other.
    tokens = jax.random.randint(jax.random.key(0), (1, 512), 1, 16).at[0, 0].set(0)
    # What the second layer keeps shows what the first one saw.
    config = dataclasses.replace(ROPE, num_layers=2)
    init = jax.jit(Transformer(config).init)(jax.random.key(1), tokens[:, :4])["params"]
    params = jax.tree.map(lambda x: 2 * x, init)
    lengths = jnp.array([300])
    with use_mesh(make_mesh(MeshConfig(1), jax.devices()[:1]), MeshConfig(1)):
        plain = Transformer(dataclasses.replace(config, attention="plain"))
        splash = Transformer(dataclasses.replace(config, attention="splash"))
        expected, found = (
            jax.jit(functools.partial(prefill, model, start_id=0))(params, tokens, lengths)[0]
            for model in (plain, splash)
        )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if one.ndim > 2:
            np.testing.assert_allclose(one[..., :300, :], other[..., :300, :], atol=2e-5)
