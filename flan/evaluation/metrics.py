"""Metric functions by name. All have seqio's signature and report on a scale of 0 to 100.

    metric(targets, predictions) -> {name: float}

The parameters carry seqio's names, so that the same functions hang on seqio tasks. A
target is one right answer or a sequence of them (any may be matched); a prediction is one
value. What a value is depends on the metric (`Metric.takes`):

  text    strings: `accuracy`, `exact_match`, `f1`, `drop`, `drop_exact_match`, `bleu`,
          `rouge`
  label   indices of options: `binary_f1` (positive is 1), `macro_f1`, `matthews`
  number  numbers or their texts: `pearson`, `spearman`

Correlations are multiplied by 100 as well, so they lie in [-100, 100]. What is undefined
(a correlation of constant values, F1 without any positive) counts as 0, never NaN.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from flan.evaluation.text_normalization import (
    drop_f1,
    drop_normalize,
    squad_normalize,
    token_f1,
)
from flan.suggest import unknown_name

MetricFn = Callable[[Sequence[Any], Sequence[Any]], dict[str, float]]
Takes = Literal["text", "label", "number"]
# (targets of one example, its prediction) -> its score.
PerExample = Callable[[tuple[Any, ...], Any], float]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric function, what its values are, and which of its numbers is the main one.

    Attributes:
      name: the name that a dataset's `metrics` lists.
      function: `(targets, predictions) -> dict`, see the module's docstring.
      takes: `text`, `label` or `number`.
      main: the key of `function`'s result that stands for the metric in averages.
    """

    name: str
    function: MetricFn
    takes: Takes
    main: str


METRICS: dict[str, Metric] = {}


def get_metric(name: str) -> Metric:
    """The metric of that name; ValueError with near names when there is none."""
    if name not in METRICS:
        raise ValueError(unknown_name("metric", name, METRICS))
    return METRICS[name]


def label_index(options: Sequence[str], text: str) -> int:
    """The option that a generated text names (case and outer space aside), -1 for none of them."""
    wanted = text.strip().casefold()
    for index, option in enumerate(options):
        if option.strip().casefold() == wanted:
            return index
    return -1


def metric(takes: Takes, main: str = "") -> Callable[[MetricFn], MetricFn]:
    """Registers a metric function under its own name, with checks of its arguments."""

    def decorate(function: MetricFn) -> MetricFn:
        @functools.wraps(function)
        def checked(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
            if len(targets) != len(predictions) or len(targets) == 0:
                raise ValueError(
                    f"{function.__name__}: expected as many predictions as targets, at least "
                    f"one; got {len(predictions)} predictions and {len(targets)} targets"
                )
            return function([_alternatives(t) for t in targets], predictions)

        name = function.__name__
        METRICS[name] = Metric(name, checked, takes, main or name)
        return checked

    return decorate


def _alternatives(target: Any) -> tuple[Any, ...]:
    if isinstance(target, list | tuple):
        if not target:
            raise ValueError("a target has no reference at all; drop such rows in to_fields")
        return tuple(target)
    return (target,)


def _only(targets: Sequence[tuple[Any, ...]]) -> list[Any]:
    if several := [t for t in targets if len(t) > 1]:
        raise ValueError(f"this metric takes one target per example, got {several[0]}")
    return [t[0] for t in targets]


def bare(value: Any) -> Any:
    """A text without outer white space; anything else as it is."""
    return value.strip() if isinstance(value, str) else value


def _equal_in(normal: Callable[[Any], Any]) -> PerExample:
    """1.0 where a prediction equals one of the targets in a normal form, else 0.0."""
    return lambda targets, prediction: float(normal(prediction) in {normal(t) for t in targets})


def _best(score: Callable[[Any, Any], float]) -> PerExample:
    """The score with the best-matching target."""
    return lambda targets, prediction: max(score(prediction, t) for t in targets)


# What one example counts, in [0, 1], in the metrics that are its mean over examples.
PER_EXAMPLE: dict[str, PerExample] = {
    "accuracy": _equal_in(bare),
    "exact_match": _equal_in(squad_normalize),
    "f1": _best(token_f1),
    "drop_exact_match": _equal_in(drop_normalize),
    "drop": _best(drop_f1),
}


def _mean(name: str, targets: Sequence[Any], predictions: Sequence[Any]) -> float:
    values = [PER_EXAMPLE[name](t, p) for t, p in zip(targets, predictions, strict=True)]
    return 100 * sum(values) / len(values)


@metric("text")
def accuracy(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Share of predictions that equal a target, outer white space aside."""
    return {"accuracy": _mean("accuracy", targets, predictions)}


@metric("text")
def exact_match(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Share of predictions that equal a target in SQuAD's normal form."""
    return {"exact_match": _mean("exact_match", targets, predictions)}


@metric("text")
def f1(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Mean over examples of SQuAD's token F1 with the best-matching target."""
    return {"f1": _mean("f1", targets, predictions)}


@metric("text")
def drop_exact_match(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Share of predictions that equal a target in DROP's normal form."""
    return {"drop_exact_match": _mean("drop_exact_match", targets, predictions)}


@metric("text", main="drop_f1")
def drop(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Mean over examples of DROP's F1 with the best-matching target."""
    return {"drop_f1": _mean("drop", targets, predictions)}


def _class_f1(gold: np.ndarray, predicted: np.ndarray, label: Any) -> float:
    hits = np.sum((gold == label) & (predicted == label))
    marked = np.sum(gold == label) + np.sum(predicted == label)
    return float(2 * hits / marked) if marked else 0.0


@metric("label")
def binary_f1(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """F1 of label 1 over all examples together (MRPC, QQP, MultiRC's F1a)."""
    gold, predicted = np.asarray(_only(targets)), np.asarray(predictions)
    for values in (gold, predicted):
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"binary_f1 takes label indices, got values like {values[0]!r}")
    return {"binary_f1": 100 * _class_f1(gold, predicted, 1)}


@metric("label")
def macro_f1(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Unweighted mean of F1 over the labels that occur among targets or predictions (CB)."""
    gold, predicted = np.asarray(_only(targets)), np.asarray(predictions)
    labels = np.union1d(gold, predicted)
    return {"macro_f1": 100 * float(np.mean([_class_f1(gold, predicted, c) for c in labels]))}


@metric("label")
def matthews(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Matthews correlation of the confusion matrix, for two labels or more (CoLA)."""
    gold, predicted = np.asarray(_only(targets)), np.asarray(predictions)
    labels = np.union1d(gold, predicted)
    # Gorodkin's form for K labels: the covariance of one-hot matrices, which for two is
    # the usual (tp tn - fp fn) over the root of the margins.
    x = (gold[:, None] == labels).astype(np.float64)
    y = (predicted[:, None] == labels).astype(np.float64)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    spread = math.sqrt(float(np.sum(x * x)) * float(np.sum(y * y)))
    return {"matthews": 100 * float(np.sum(x * y)) / spread if spread else 0.0}


def as_number(value: Any) -> float:
    """The value as a finite number; 0 for a generated text that is none."""
    try:
        number = float(value)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _correlation(name: str, targets: Sequence[Any], predictions: Sequence[Any]) -> float:
    from scipy import stats

    gold = [float(t) for t in _only(targets)]
    predicted = [as_number(p) for p in predictions]
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    function = stats.pearsonr if name == "pearson" else stats.spearmanr
    return 100 * float(function(gold, predicted).statistic)


@metric("number")
def pearson(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Pearson's correlation (STS-B); a prediction that is no number counts as 0."""
    return {"pearson": _correlation("pearson", targets, predictions)}


@metric("number")
def spearman(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Spearman's rank correlation (STS-B); a prediction that is no number counts as 0."""
    return {"spearman": _correlation("spearman", targets, predictions)}


@metric("text")
def bleu(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Corpus BLEU of sacrebleu with its defaults (13a tokens, case kept, exp smoothing).

    Examples may have different numbers of references; sacrebleu takes None in the gaps.
    """
    from sacrebleu.metrics import BLEU

    most = max(len(t) for t in targets)
    streams: list[Any] = [[t[i] if i < len(t) else None for t in targets] for i in range(most)]
    return {"bleu": float(BLEU().corpus_score(list(predictions), streams).score)}


@metric("text", main="rougeL")
def rouge(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """ROUGE F-measures with stemming, best reference for each, mean over examples.

    `rougeL` (the habit for single-sentence outputs, and our main number) takes the text as
    one sequence; `rougeLsum` joins the lines' longest common subsequences, which is what
    papers on CNN/DailyMail print as ROUGE-L.
    """
    scores = [_rouge(t, p) for t, p in zip(targets, predictions, strict=True)]
    means = np.mean(scores, axis=0)
    return {n: 100 * float(v) for n, v in zip(_ROUGES, means, strict=True)}


_ROUGES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


# Resampling asks again for what scoring has just computed.
@functools.lru_cache(maxsize=1 << 16)
def _rouge(references: tuple[str, ...], prediction: str) -> tuple[float, ...]:
    found = _rouge_scorer().score_multi(references, prediction)
    return tuple(found[name].fmeasure for name in _ROUGES)


def rouge_l(references: tuple[str, ...], prediction: str) -> float:
    """ROUGE-L's F-measure of one example, in [0, 1]: what the main number of `rouge` averages."""
    return _rouge(references, prediction)[_ROUGES.index("rougeL")]


@functools.cache
def _rouge_scorer() -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(_ROUGES), use_stemmer=True)
