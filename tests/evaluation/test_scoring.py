"""Scores equal a naive computation and do not move with batches, order, padding or packing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data.batch import Batch
from flan.evaluation import scoring
from flan.evaluation.prompts import RankRequest
from flan.evaluation.scoring import score_requests
from flan.evaluation.shapes import BatchShapes
from flan.evaluation.unconditional import UnconditionalScores
from flan.models.loss import LossConfig, weighted_loss
from flan.models.transformer import Transformer

SHAPES = BatchShapes(row_length=96, batch_rows=2, shortest=48)
DOMAIN = (1,)


@pytest.fixture(scope="module", params=["relative", "rope"])
def network(request, tiny_model):
    """The tiny model, and one with rotary positions and grouped heads."""
    if request.param == "relative":
        return tiny_model
    config = dataclasses.replace(
        tiny_model[0].config, positions="rope", num_kv_heads=2, scale_attention=True
    )
    model = Transformer(config)
    tokens = jnp.ones((1, 8), jnp.int32)
    params = jax.jit(model.init)(jax.random.key(0), tokens, tokens)["params"]
    return model, jax.tree.map(lambda x: x * 1.5, params)


def random_requests(seed, count, longest=40, lengths=(2, 6, 30)):
    rng = np.random.default_rng(seed)

    def ids(most):
        return tuple(int(i) for i in rng.integers(3, 90, rng.integers(1, most + 1)))

    requests = []
    for _ in range(count):
        options = tuple(ids(rng.choice(lengths)) for _ in range(rng.integers(1, 5)))
        sizes = tuple(2 * len(o) for o in options)
        requests.append(RankRequest(ids(longest), options, sizes, DOMAIN))
    return requests


def naive(full_logits, model, params, context, options, start_id):
    """One option at a time, no packing, logits everywhere."""
    sums = []
    for option in options:
        sequence = [*context, *option]
        read = sequence[:-1] if start_id is None else [start_id, *sequence[:-1]]
        predicted = sequence[len(sequence) - len(read) :]
        logits = full_logits(model, params, read)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        counted = range(len(read) - len(option), len(read))
        sums.append(sum(log_probs[i, predicted[i]] for i in counted))
    return np.array(sums)


@pytest.mark.parametrize("start_id", [0, 7, None])
def test_scores_equal_the_naive_computation(network, full_logits, start_id):
    requests = random_requests(1, 12)
    scores = score_requests(*network, requests, start_id=start_id, shapes=SHAPES)
    for request, found in zip(requests, scores, strict=True):
        expected = naive(full_logits, *network, request.context, request.options, start_id)
        np.testing.assert_allclose(found.log_probs, expected, atol=2e-5, rtol=1e-6)
        assert found.best()[0] == int(expected.argmax())
        np.testing.assert_allclose(
            found.by("token_mean"), expected / [len(o) for o in request.options], atol=2e-5
        )
        np.testing.assert_allclose(
            found.by("byte_mean"), expected / request.option_bytes, atol=2e-5
        )
        alone = naive(full_logits, *network, request.domain, request.options, start_id)
        np.testing.assert_allclose(found.by("pmi"), expected - alone, atol=3e-5)


def test_a_prefix_lm_scores_as_its_training_loss(network):
    model, params = network
    prefix = model.clone(prefix_lm=True)
    requests = random_requests(5, 6)
    scores = score_requests(prefix, params, requests, shapes=SHAPES)
    length = 96
    loss = jax.jit(lambda b: weighted_loss(model, params, b, LossConfig(), prefix_lm=True)[0])
    causal = score_requests(model, params, requests, shapes=SHAPES)
    for request, found, other in zip(requests, scores, causal, strict=True):
        for option, score in zip(request.options, found.log_probs, strict=True):
            targets = np.zeros((1, length), np.int32)
            targets[0, : len(request.context) + len(option)] = [*request.context, *option]
            used = (np.arange(length) < len(request.context) + len(option))[None]
            weights = used & (np.arange(length) >= len(request.context))
            tokens = np.where(used, np.roll(targets, 1, axis=1), 0)
            tokens[0, 0] = 0
            positions = np.where(used, np.arange(length), 0)
            whole = [tokens, targets, used.astype(np.int32), positions.astype(np.int32)]
            batch = Batch(
                tokens=whole[0],
                targets=whole[1],
                segment_ids=whole[2],
                positions=whole[3],
                loss_weights=weights.astype(np.float32),
            )
            np.testing.assert_allclose(-score, float(loss(batch)), atol=5e-5, rtol=1e-5)
        if len(request.context) > 2:
            assert not np.allclose(found.log_probs, other.log_probs, atol=1e-4)


@pytest.mark.parametrize(
    "shapes",
    [
        BatchShapes(row_length=96, batch_rows=1, shortest=96),
        BatchShapes(row_length=96, batch_rows=5, shortest=48),
        BatchShapes(row_length=160, batch_rows=3, shortest=160),
        BatchShapes(row_length=512, batch_rows=2, shortest=512),
    ],
)
def test_scores_do_not_move_with_the_batch(network, shapes):
    requests = random_requests(2, 30)
    expected = score_requests(*network, requests, shapes=SHAPES)
    order = np.random.default_rng(3).permutation(len(requests))
    found = score_requests(*network, [requests[i] for i in order], shapes=shapes)
    for place, i in enumerate(order):
        for name in ("sum", "pmi"):
            np.testing.assert_allclose(
                found[place].by(name), expected[i].by(name), atol=6e-5, rtol=1e-6
            )
        assert found[place].best() == expected[i].best()


def test_a_request_alone_scores_as_in_company(tiny_model):
    requests = random_requests(4, 10)
    together = score_requests(*tiny_model, requests, shapes=SHAPES)
    for request, expected in zip(requests, together, strict=True):
        (alone,) = score_requests(*tiny_model, [request], shapes=SHAPES)
        np.testing.assert_allclose(alone.log_probs, expected.log_probs, atol=2e-5, rtol=1e-6)


def test_what_shares_a_row_cannot_be_seen(tiny_model):
    """Other content around a request leaves its scores as they are."""
    request = random_requests(5, 1, longest=10)[0]
    around = random_requests(6, 8, longest=10)
    changed = [
        RankRequest(tuple(90 - t for t in r.context), r.options[::-1], r.option_bytes[::-1], DOMAIN)
        for r in around
    ]
    one = score_requests(*tiny_model, [request, *around], shapes=SHAPES)[0]
    two = score_requests(*tiny_model, [request, *changed], shapes=SHAPES)[0]
    np.testing.assert_allclose(one.log_probs, two.log_probs, atol=2e-5, rtol=1e-6)


def test_few_shapes_are_compiled(tiny_model):
    known = scoring._log_probs._cache_size()
    score_requests(*tiny_model, random_requests(7, 60), shapes=SHAPES)
    after = scoring._log_probs._cache_size()
    assert after - known <= 5
    score_requests(*tiny_model, random_requests(7, 60)[::-1], shapes=SHAPES)
    assert scoring._log_probs._cache_size() == after


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.randoms(use_true_random=False))
def test_any_company_leaves_scores_as_they_are(tiny_model, seed, count, random):
    """Any requests, in any order, in any of a few batch shapes, score as each does alone."""
    requests = random_requests(seed, count, longest=60, lengths=(1, 3, 12, 30))
    alone = [score_requests(*tiny_model, [r], shapes=SHAPES)[0] for r in requests]
    order = random.sample(range(count), count)
    shapes = random.choice(
        [SHAPES, BatchShapes(96, 3, 96), BatchShapes(192, 1, 48), BatchShapes(96, 2, 48, 4)]
    )
    found = score_requests(*tiny_model, [requests[i] for i in order], shapes=shapes)
    for i, scores in zip(order, found, strict=True):
        np.testing.assert_allclose(scores.log_probs, alone[i].log_probs, atol=3e-5, rtol=1e-6)
        np.testing.assert_allclose(scores.by("pmi"), alone[i].by("pmi"), atol=6e-5, rtol=1e-6)


def test_options_that_do_not_fit_beside_each_other_are_split(tiny_model, full_logits):
    options = tuple(tuple(range(5 + i, 35 + i)) for i in range(4))
    request = RankRequest(tuple(range(10, 60)), options, (1,) * 4, DOMAIN)
    (found,) = score_requests(*tiny_model, [request], shapes=SHAPES)
    expected = naive(full_logits, *tiny_model, request.context, options, 0)
    np.testing.assert_allclose(found.log_probs, expected, atol=3e-5, rtol=0)


def test_many_options_of_one_token(tiny_model, full_logits):
    options = tuple((token,) for token in range(3, 93)) * 3
    request = RankRequest((5, 6, 7), options, (1,) * len(options), DOMAIN)
    (found,) = score_requests(*tiny_model, [request], shapes=SHAPES)
    expected = naive(full_logits, *tiny_model, request.context, options[:5], 0)
    np.testing.assert_allclose(found.log_probs[:5], expected, atol=2e-5, rtol=1e-6)
    assert np.exp(found.log_probs[:90]).sum() < 1
    np.testing.assert_allclose(found.log_probs[:90], found.log_probs[90:180], atol=1e-5)


def test_unconditional_scores_are_computed_once(tiny_model, monkeypatch):
    requests = random_requests(9, 6)
    known = UnconditionalScores()
    first = score_requests(*tiny_model, requests, shapes=SHAPES, unconditional=known)
    seen = []
    batches = scoring.batches
    monkeypatch.setattr(scoring, "batches", lambda p, s: batches(seen.extend(p) or p, s))
    again = score_requests(*tiny_model, requests, shapes=SHAPES, unconditional=known)
    assert {p.request for p in seen} == set(range(len(requests)))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.unconditional, two.unconditional)
    few = UnconditionalScores(most=2)
    score_requests(*tiny_model, requests, shapes=SHAPES, unconditional=few)
    last = [(DOMAIN, o) for r in requests for o in r.options if (DOMAIN, o) in few]
    assert len(set(last)) == 2


def test_equal_options_tie(tiny_model):
    request = RankRequest((5, 6, 7, 8), ((9, 10), (9, 10), (11,)), (2, 2, 1), DOMAIN)
    (scores,) = score_requests(*tiny_model, [request], shapes=SHAPES)
    assert scores.log_probs[0] == pytest.approx(scores.log_probs[1], abs=1e-5)


def test_bad_requests_are_refused(tiny_model):
    for request in (RankRequest((5,), (), ()), RankRequest((5,), ((),), (1,))):
        with pytest.raises(ValueError, match="no options or an empty one"):
            score_requests(*tiny_model, [request], shapes=SHAPES)
    with pytest.raises(ValueError, match="no start token"):
        score_requests(*tiny_model, [RankRequest((), ((5,),), (1,), DOMAIN)], start_id=None)
    with pytest.raises(ValueError, match="no start token"):
        score_requests(*tiny_model, [RankRequest((5,), ((5,),), (1,))], start_id=None)
    with pytest.raises(ValueError, match="96"):
        score_requests(*tiny_model, [RankRequest((5,) * 96, ((6,),), (1,))], shapes=SHAPES)
    with pytest.raises(ValueError, match="positive"):
        BatchShapes(batch_rows=0)


def test_progress_adds_up(tiny_model):
    seen = []
    score_requests(*tiny_model, random_requests(8, 5), shapes=SHAPES, on_progress=seen.append)
    assert sum(seen) == 5


def test_scores_that_overflow_are_refused(tiny_model):
    model, params = tiny_model
    with pytest.raises(ValueError, match="no finite numbers: the network overflows in float32"):
        score_requests(model, jax.tree.map(lambda x: x * jnp.nan, params), random_requests(0, 2))
