"""Beam search against all sequences there are, and against a plain one without a cache."""

import itertools

import numpy as np
import pytest

from flan.models.beam_search import beam_search
from flan.models.decoding import unrolled

PROMPTS = [[5, 3, 9], [7]]


def search(network, beams, alpha, most, stops):
    tokens = np.zeros((2, 3), np.int32)
    for row, prompt in enumerate(PROMPTS):
        tokens[row, : len(prompt)] = prompt
    lengths = np.array([3, 1], np.int32)
    found = beam_search(*network, tokens, lengths, beams, alpha, most, stops, 0)
    return [
        [
            (tuple(found.tokens[row, beam, : found.lengths[row, beam]].tolist()), float(score))
            for beam, score in enumerate(found.scores[row])
        ]
        for row in range(2)
    ]


def penalty(length, alpha):
    return ((5 + length) / 6) ** alpha


def everything(next_log_probs, network, prompt, alpha, most, stops):
    """All sequences with their scores, the best first."""
    living, found = {(): 0.0}, {}
    for length in range(1, most + 1):
        texts = list(living)
        rows = next_log_probs(*network, [[0, *prompt, *t] for t in texts])
        longer = {}
        for text, row in zip(texts, rows, strict=True):
            for token, log_prob in enumerate(row):
                target = found if token in stops or length == most else longer
                total = living[text] + log_prob
                target[(*text, token)] = (
                    total / penalty(length, alpha) if target is found else total
                )
        living = longer
    return sorted(found.items(), key=lambda item: -item[1])


def plain(next_log_probs, network, prompt, beams, alpha, most, stops):
    """Beam search as a textbook has it; every candidate end counts."""
    living, found = [((), 0.0)], []
    for length in range(1, most + 1):
        rows = next_log_probs(*network, [[0, *prompt, *t] for t, _ in living])
        longer = [
            ((*text, token), total + row[token])
            for (text, total), row in zip(living, rows, strict=True)
            for token in range(len(row))
        ]
        ended = [(t, s / penalty(length, alpha)) for t, s in longer if t[-1] in stops]
        living = sorted((x for x in longer if x[0][-1] not in stops), key=lambda x: -x[1])[:beams]
        found = sorted([*found, *ended], key=lambda x: -x[1])[:beams]
    found += [(t, s / penalty(most, alpha)) for t, s in living]
    return sorted(found, key=lambda x: -x[1])[:beams]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_enough_beams_find_the_best_of_all_sequences(small, next_log_probs, alpha):
    network = unrolled(*small)
    for row, found in enumerate(search(network, 100, alpha, 3, (1, 4))):
        expected = everything(next_log_probs, small, PROMPTS[row], alpha, 3, (1, 4))
        for (tokens, score), (text, best) in itertools.islice(
            zip(found, expected, strict=False), 5
        ):
            assert tokens == text
            assert score == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_few_beams_find_what_a_plain_search_finds(small, next_log_probs, beams):
    for row, found in enumerate(search(small, beams, 0.6, 5, (1,))):
        expected = plain(next_log_probs, small, PROMPTS[row], beams, 0.6, 5, (1,))
        assert found[0][0] == expected[0][0]
        assert found[0][1] == pytest.approx(expected[0][1], abs=1e-4)
