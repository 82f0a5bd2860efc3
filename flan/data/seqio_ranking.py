"""seqio tasks that rank options: an example for each option, and metrics over their scores.

`flan_rte_t0_rank` has the dev and test rows of `flan_rte_t0`, each as often as it has options,
with an option as its target. seqio's evaluator has the model score each; a row's choice is the
option of the highest score, the first of equals, and the dataset's metrics are over the
choices. It is what `flan eval` does (its score `sum`), which reads a context once for all options
and is several times as fast.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan.catalog.dataset import Dataset

SUFFIX = "_rank"


def split_name(name: str) -> tuple[str, bool]:
    """The task's name without the suffix, and whether it had it."""
    return name.removesuffix(SUFFIX), name.endswith(SUFFIX)


def one_example_an_option(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, seqio.Feature],
    sequence_length: Mapping[str, int] | None,
) -> tf.data.Dataset:
    """Repeats phrased examples for their options, each as `targets` (int32, cut, with EOS).

    Adds `option`, its place. ValueError for an example without options.
    """
    feature = output_features["targets"]
    limit = (sequence_length or {}).get("targets")
    kept = None if limit is None else limit - 1

    def tokens(answers: bytes) -> tuple[np.ndarray, np.ndarray]:
        options = json.loads(answers)["options"]
        if not options:
            raise ValueError("an example has no options to rank")
        ids = [
            [*found[:kept], feature.vocabulary.eos_id]
            for found in feature.vocabulary.encode_batch(options)
        ]
        lengths = np.array([len(found) for found in ids], np.int64)
        return np.array(list(itertools.chain.from_iterable(ids)), np.int32), lengths

    def expand(example: dict[str, tf.Tensor]) -> tf.data.Dataset:
        flat, lengths = tf.numpy_function(
            tokens, [example["answers"]], [tf.int32, tf.int64], stateful=False
        )
        flat.set_shape([None])
        lengths.set_shape([None])
        ragged = tf.RaggedTensor.from_row_lengths(flat, lengths)
        count = tf.size(lengths, tf.int64)

        def one(option: tf.Tensor) -> dict[str, tf.Tensor]:
            return {**example, "targets": ragged[option], "option": option}

        return tf.data.Dataset.range(count).map(one)

    return dataset.flat_map(expand)


def postprocess(
    target: Any, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> dict[str, Any]:
    """What the metrics need of an example: its row's fields, and where the row is from."""
    del target
    if not is_target or example is None:
        raise ValueError("a task that ranks options is scored; it generates nothing")
    return {key: _value(example[key]) for key in ("fields", "source", "row_id")}


def _value(x: Any) -> Any:
    value = x.numpy() if isinstance(x, tf.Tensor) else x
    return value.item() if isinstance(value, np.generic) else value


def metric_function(dataset: Dataset) -> Callable[..., dict[str, float]]:
    """All metrics of the dataset, over the option of each row that scores highest."""
    from flan.data.row_cache import fields_from_json
    from flan.evaluation.rank_cells import rank_metrics
    from flan.evaluation.scores import first_highest

    def rank_classification(
        targets: Sequence[Mapping[str, Any]], scores: Sequence[float]
    ) -> dict[str, float]:
        rows = itertools.groupby(
            zip(targets, scores, strict=True), lambda pair: (pair[0]["source"], pair[0]["row_id"])
        )
        examples, choices = [], []
        for _, options in rows:
            found = list(options)
            examples.append(fields_from_json(found[0][0]["fields"]))
            choices.append(first_highest(np.array([score for _, score in found]))[0])
        return rank_metrics(dataset.metrics, examples, choices)

    return rank_classification
