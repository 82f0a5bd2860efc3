"""Scores equal a naive computation and do not move with batches, order, padding or packing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.evaluation import scoring
from flan.evaluation.prompts import RankRequest
from flan.evaluation.scoring import BatchShapes, OptionScores, score_requests

SHAPES = BatchShapes(row_length=96, batch_rows=2, shortest=48)


def random_requests(seed, count, longest=40):
    rng = np.random.default_rng(seed)

    def ids(most):
        return tuple(int(i) for i in rng.integers(3, 90, rng.integers(1, most + 1)))

    requests = []
    for _ in range(count):
        options = tuple(ids(rng.choice([2, 6, 30])) for _ in range(rng.integers(1, 5)))
        requests.append(RankRequest(ids(longest), options, tuple(2 * len(o) for o in options)))
    return requests


def naive(full_logits, model, params, request, start_id):
    """One option at a time, no packing, logits everywhere."""
    sums = []
    for option in request.options:
        sequence = [*request.context, *option]
        read = sequence[:-1] if start_id is None else [start_id, *sequence[:-1]]
        predicted = sequence[len(sequence) - len(read) :]
        logits = full_logits(model, params, read)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        counted = range(len(read) - len(option), len(read))
        sums.append(sum(log_probs[i, predicted[i]] for i in counted))
    return np.array(sums)


@pytest.mark.parametrize("start_id", [0, 7, None])
def test_scores_equal_the_naive_computation(tiny_model, full_logits, start_id):
    model, params = tiny_model
    requests = random_requests(1, 12)
    scores = score_requests(model, params, requests, start_id=start_id, shapes=SHAPES)
    for request, found in zip(requests, scores, strict=True):
        expected = naive(full_logits, model, params, request, start_id)
        np.testing.assert_allclose(found.log_probs, expected, atol=1e-4, rtol=0)
        assert found.best()[0] == int(expected.argmax())
        np.testing.assert_allclose(
            found.by("token_mean"), expected / [len(o) for o in request.options], atol=1e-4
        )
        np.testing.assert_allclose(
            found.by("byte_mean"), expected / request.option_bytes, atol=1e-4
        )


@pytest.mark.parametrize(
    "shapes",
    [
        BatchShapes(row_length=96, batch_rows=1, shortest=96),
        BatchShapes(row_length=96, batch_rows=5, shortest=48),
        BatchShapes(row_length=160, batch_rows=3, shortest=160),
        BatchShapes(row_length=512, batch_rows=2, shortest=512),
    ],
)
def test_scores_do_not_move_with_the_batch(tiny_model, shapes):
    requests = random_requests(2, 30)
    expected = score_requests(*tiny_model, requests, shapes=SHAPES)
    order = np.random.default_rng(3).permutation(len(requests))
    found = score_requests(*tiny_model, [requests[i] for i in order], shapes=shapes)
    for place, i in enumerate(order):
        np.testing.assert_allclose(found[place].log_probs, expected[i].log_probs, atol=1e-4, rtol=0)
        assert found[place].best() == expected[i].best()


def test_a_request_alone_scores_as_in_company(tiny_model):
    requests = random_requests(4, 10)
    together = score_requests(*tiny_model, requests, shapes=SHAPES)
    for request, expected in zip(requests, together, strict=True):
        (alone,) = score_requests(*tiny_model, [request], shapes=SHAPES)
        np.testing.assert_allclose(alone.log_probs, expected.log_probs, atol=1e-5, rtol=0)


def test_what_shares_a_row_cannot_be_seen(tiny_model):
    """Other content around a request leaves its scores bit for bit as they are."""
    request = random_requests(5, 1, longest=10)[0]
    around = random_requests(6, 8, longest=10)
    changed = [
        RankRequest(tuple(90 - t for t in r.context), r.options[::-1], r.option_bytes[::-1])
        for r in around
    ]
    one = score_requests(*tiny_model, [request, *around], shapes=SHAPES)[0]
    two = score_requests(*tiny_model, [request, *changed], shapes=SHAPES)[0]
    np.testing.assert_allclose(one.log_probs, two.log_probs, atol=1e-5, rtol=0)


def test_few_shapes_are_compiled(tiny_model):
    known = scoring._target_log_probs._cache_size()
    score_requests(*tiny_model, random_requests(7, 60), shapes=SHAPES)
    after = scoring._target_log_probs._cache_size()
    assert after - known <= 3 * len(SHAPES.lengths)
    score_requests(*tiny_model, random_requests(7, 60)[::-1], shapes=SHAPES)
    assert scoring._target_log_probs._cache_size() == after


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25))
def test_rows_hold_each_sequence_once_and_within_limits(seed, count):
    requests = random_requests(seed, count)
    sequences = [s for i, r in enumerate(requests) for s in scoring._sequences(i, r, 0)]
    packed = []
    for rows, arrays in scoring._batches(sequences, SHAPES):
        tokens, targets, positions, segments, places, wanted = arrays
        assert len(rows) <= len(tokens)
        for r, row in enumerate(rows):
            packed += row.sequences
            assert row.length <= tokens.shape[1]
            assert row.targets <= places.shape[1]
            np.testing.assert_array_equal(
                targets[r, places[r, : row.targets]], wanted[r, : row.targets]
            )
            for number, sequence in enumerate(row.sequences, start=1):
                inside = segments[r] == number
                assert tuple(tokens[r, inside]) == sequence.read
                assert list(positions[r, inside]) == list(range(len(sequence.read)))
    assert sorted((s.request, s.option) for s in packed) == sorted(
        (i, o) for i, r in enumerate(requests) for o in range(len(r.options))
    )


def test_short_requests_share_rows():
    requests = [RankRequest((5,) * 9, ((6,), (7,)), (1, 1)) for _ in range(24)]
    sequences = [s for i, r in enumerate(requests) for s in scoring._sequences(i, r, 0)]
    rows = [row for rows, _ in scoring._batches(sequences, SHAPES) for row in rows]
    assert len(rows) <= len(sequences) / 2


def test_ties_are_told_and_the_first_wins():
    scores = OptionScores(np.array([-3.0, -2.00004, -2.0]), np.ones(3), np.ones(3))
    assert scores.best() == (1, True)
    clear = OptionScores(np.array([-4.0, -3.0]), np.array([4, 1]), np.array([1, 2]))
    assert clear.best("sum") == (1, False)
    assert clear.best("token_mean") == (0, False)
    assert clear.best("byte_mean") == (1, False)
    with pytest.raises(ValueError, match="byte_mean"):
        clear.by("bytes")


def test_equal_options_tie(tiny_model):
    request = RankRequest((5, 6, 7, 8), ((9, 10), (9, 10), (11,)), (2, 2, 1))
    (scores,) = score_requests(*tiny_model, [request], shapes=SHAPES)
    assert scores.log_probs[0] == pytest.approx(scores.log_probs[1], abs=1e-5)


def test_bad_requests_are_refused(tiny_model):
    for request in (RankRequest((5,), (), ()), RankRequest((5,), ((),), (1,))):
        with pytest.raises(ValueError, match="no options or an empty one"):
            score_requests(*tiny_model, [request], shapes=SHAPES)
    with pytest.raises(ValueError, match="no start token"):
        score_requests(*tiny_model, [RankRequest((), ((5,),), (1,))], start_id=None)
    with pytest.raises(ValueError, match="96"):
        score_requests(*tiny_model, [RankRequest((5,) * 96, ((6,),), (1,))], shapes=SHAPES)
    with pytest.raises(ValueError, match="positive"):
        BatchShapes(batch_rows=0)


def test_progress_adds_up(tiny_model):
    seen = []
    score_requests(*tiny_model, random_requests(8, 5), shapes=SHAPES, on_progress=seen.append)
    assert sum(seen) == 5
