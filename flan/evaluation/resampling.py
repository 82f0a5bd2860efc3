"""How sure a score is: the bootstrap over examples.

A score's replicates are its values on samples of its examples drawn with replacement (Efron
1979; for BLEU Koehn 2004, "Statistical Significance Tests for Machine Translation
Evaluation"). Which examples each replicate draws depends on the rows alone, so replicate i
of one template, or checkpoint, and replicate i of another saw the same examples, and their
differences can be taken one by one.

Most metrics are functions of sums over examples (right answers, counts of n-grams), so that
a replicate is a weighted sum and nothing is compared anew.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flan.evaluation.metrics import PER_EXAMPLE, Metric, PerExample, as_number, rouge_l

REPLICATES = 500
_AT_ONCE = 2_000_000  # drawn examples held in memory

Answers = Sequence[tuple[Any, ...]]  # the right answers of each example


@dataclasses.dataclass(frozen=True)
class Sums:
    """A metric's main number as a function of sums over examples.

    Attributes:
      examples: (targets, predictions) -> float64 `[n, k]`, what each example adds.
      value: float64 `[r, k]` sums of r samples, n -> float64 `[r]`, on a scale of 0 to 100.
    """

    examples: Callable[[Answers, Sequence[Any]], np.ndarray]
    value: Callable[[np.ndarray, int], np.ndarray]


def replicates(
    metric: Metric, targets: Sequence[Any], predictions: Sequence[Any], rows_key: str
) -> tuple[float, ...]:
    """The metric's main number on `REPLICATES` samples of the examples, rounded to 3 places.

    Args:
      metric: which; `targets` and `predictions` are as its function takes them.
      targets, predictions: one of each for each example.
      rows_key: names the rows; the same key draws the same samples.
    """
    answers = [
        t if isinstance(t, tuple) else tuple(t) if isinstance(t, list) else (t,) for t in targets
    ]
    count = len(answers)
    sums = _SUMS.get(metric.name)
    found = []
    if sums is not None:
        examples = sums.examples(answers, predictions)
        for drawn in _samples(count, rows_key):
            weights = np.stack([np.bincount(one, minlength=count) for one in drawn])
            found.append(sums.value(weights.astype(np.float64) @ examples, count))
    else:
        for drawn in _samples(count, rows_key):
            values = [
                metric.function([answers[i] for i in one], [predictions[i] for i in one])
                for one in drawn.tolist()
            ]
            found.append(np.array([v[metric.main] for v in values]))
    return tuple(np.round(np.concatenate(found), 3).tolist())


def interval(values: np.ndarray | Sequence[float]) -> tuple[float, float]:
    """The middle 95% of replicates: a percentile interval."""
    low, high = np.percentile(np.asarray(values, np.float64), [2.5, 97.5])
    return round(float(low), 3), round(float(high), 3)


def _samples(count: int, rows_key: str) -> Iterator[np.ndarray]:
    """int64 `[r, count]` places, `REPLICATES` rows in all."""
    seed = hashlib.sha256(f"bootstrap {count} {rows_key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:16], "little"))
    at_once = max(1, _AT_ONCE // count)
    for start in range(0, REPLICATES, at_once):
        yield rng.integers(0, count, (min(at_once, REPLICATES - start), count))


def _mean(per_example: PerExample) -> Sums:
    """A metric that is the mean of something over examples."""

    def examples(targets: Answers, predictions: Sequence[Any]) -> np.ndarray:
        values = [per_example(t, p) for t, p in zip(targets, predictions, strict=True)]
        return np.array(values, np.float64)[:, None]

    return Sums(examples, lambda sums, count: 100 * sums[:, 0] / count)


def _confusion(targets: Answers, predictions: Sequence[Any]) -> np.ndarray:
    """Each example's cell of the confusion matrix, `[n, L * L]`, L labels in use."""
    gold, predicted = np.array([t[0] for t in targets]), np.asarray(predictions)
    labels = np.union1d(gold, predicted)
    cell = np.searchsorted(labels, gold) * len(labels) + np.searchsorted(labels, predicted)
    return np.eye(len(labels) ** 2)[cell]


def _square(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, gold counts and predicted counts of each label, all `[r, L]`."""
    size = round(sums.shape[1] ** 0.5)
    matrix = sums.reshape(-1, size, size)
    return np.einsum("rll->rl", matrix), matrix.sum(2), matrix.sum(1)


def _divide(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)


def _macro_f1(sums: np.ndarray, count: int) -> np.ndarray:
    hits, gold, predicted = _square(sums)
    marked = gold + predicted
    return 100 * _divide(2 * hits, marked).sum(1) / (marked > 0).sum(1)


def _matthews(sums: np.ndarray, count: int) -> np.ndarray:
    # Gorodkin's form for any number of labels, from the counts (Bioinformatics 2004).
    hits, gold, predicted = _square(sums)
    covariance = count * hits.sum(1) - (gold * predicted).sum(1)
    spread = (count**2 - (gold**2).sum(1)) * (count**2 - (predicted**2).sum(1))
    return 100 * _divide(covariance, np.sqrt(np.maximum(spread, 0.0)))


def _positive(targets: Answers, predictions: Sequence[Any]) -> np.ndarray:
    gold, predicted = np.array([t[0] for t in targets]) == 1, np.asarray(predictions) == 1
    return np.stack([gold & predicted, gold.astype(int) + predicted], axis=1).astype(np.float64)


def _moments(targets: Answers, predictions: Sequence[Any]) -> np.ndarray:
    x = np.array([float(t[0]) for t in targets])
    y = np.array([as_number(p) for p in predictions])
    # Shifting changes no correlation and keeps the squares small.
    x, y = x - x.mean(), y - y.mean()
    return np.stack([x, y, x * x, y * y, x * y], axis=1)


def _pearson(sums: np.ndarray, count: int) -> np.ndarray:
    x, y, xx, yy, xy = (sums / count).T
    var_x, var_y = xx - x * x, yy - y * y
    # What rounding leaves of no variance at all is none.
    clear = (var_x > 1e-12 * (1 + xx)) & (var_y > 1e-12 * (1 + yy))
    spread = np.where(clear, np.sqrt(np.maximum(var_x * var_y, 0.0)), 0.0)
    return 100 * _divide(xy - x * y, spread)


_ORDERS = 4  # BLEU's n-grams


def _bleu_counts(targets: Answers, predictions: Sequence[Any]) -> np.ndarray:
    """Matching and all n-grams of each order, and the two lengths: `[n, 10]`."""
    score = _bleu().sentence_score
    found = [score(p, list(t)) for t, p in zip(targets, predictions, strict=True)]
    rows = [[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in found]
    return np.array(rows, np.float64)


def _bleu_value(sums: np.ndarray, count: int) -> np.ndarray:
    from sacrebleu.metrics import BLEU

    return np.array(
        [
            BLEU.compute_bleu(
                row[:_ORDERS], row[_ORDERS:-2], int(row[-2]), int(row[-1]), smooth_method="exp"
            ).score
            for row in np.rint(sums).astype(int).tolist()
        ]
    )


@functools.cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=True)  # which changes a sentence's score, not its counts


_SUMS: dict[str, Sums] = {
    **{name: _mean(per_example) for name, per_example in PER_EXAMPLE.items()},
    "rouge": _mean(rouge_l),
    "binary_f1": Sums(_positive, lambda sums, count: 100 * _divide(2 * sums[:, 0], sums[:, 1])),
    "macro_f1": Sums(_confusion, _macro_f1),
    "matthews": Sums(_confusion, _matthews),
    "pearson": Sums(_moments, _pearson),
    "bleu": Sums(_bleu_counts, _bleu_value),
}
