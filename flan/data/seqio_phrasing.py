"""Preprocessing and postprocessing of our seqio tasks: from fields to tokens, from text to scores."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan.catalog.dataset import Dataset
from flan.data.phrasing import Phraser
from flan.data.row_cache import fields_from_json
from flan.data.seqio_source import ROWS_AT_ONCE, RowSource
from flan.data.tokenization import INPUT_LENGTH
from flan.templates.exemplars import ExemplarPool
from flan.templates.template import Rendered

FEATURES = ("inputs", "targets")
_TEXTS = ("inputs_pretokenized", "targets_pretokenized")


def count_epochs(dataset: tf.data.Dataset, source: RowSource) -> tf.data.Dataset:
    """Adds `epoch`: how often the row came before, whatever the order, shard or repetition."""

    def count(seen: tf.Tensor, example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, Any]]:
        row = example["row"]
        seen_now = tf.tensor_scatter_nd_add(seen, [[row]], [1])
        return seen_now, {**example, "epoch": seen[row]}

    return dataset.scan(tf.zeros([source.most_rows], tf.int32), count)


def phrase(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, seqio.Feature],
    sequence_length: Mapping[str, int] | None,
    *,
    source: RowSource,
    training: Phraser,
    evaluation: Phraser | None,
) -> tf.data.Dataset:
    """Phrases and tokenizes examples with `fields` and `epoch`.

    Adds `inputs` and `targets` (int32, cut to length, with EOS), both as text under
    `*_pretokenized`, `template` (its place in the dataset's file, or -1) and `answers`
    (JSON: options, label, references), which `postprocess` reads.

    Args:
      source: gives the exemplars of few-shot renderings.
      training: phrases the rows of the train split.
      evaluation: phrases the others; None for a task without them.
    """
    lengths = dict(sequence_length or {})
    phrasers = [evaluation or training, training]
    names = [s.name for s in source.dataset.sources]
    encode = output_features["inputs"].vocabulary.encode
    limits = [_Limit(output_features[k], lengths.get(k)) for k in FEATURES]
    give_exemplars = functools.cache(
        lambda: _give_exemplars(phrasers, source, encode, lengths.get("inputs") or INPUT_LENGTH)
    )

    def phrase_row(
        fields: bytes, place: int, row_id: int, epoch: int, train: int
    ) -> tuple[int, Rendered]:
        return phrasers[int(train)].phrase(
            fields_from_json(fields), names[int(place)], int(row_id), int(epoch)
        )

    def phrase_rows(*columns: np.ndarray) -> list[np.ndarray]:
        if training.rendering.shots:
            give_exemplars()
        rows = [phrase_row(*row) for row in zip(*columns, strict=True)]
        texts = [t.input for _, t in rows], [t.target for _, t in rows]
        found: list[list[bytes]] = [limit.tokens(t) for limit, t in zip(limits, texts, strict=True)]
        found += [[text.encode() for text in column] for column in texts]
        found.append([_answers(text) for _, text in rows])
        templates = np.array([index for index, _ in rows], np.int64)
        return [*(np.array(column, object) for column in found), templates]

    def add(example: dict[str, tf.Tensor]) -> dict[str, Any]:
        columns = [example[k] for k in ("fields", "source", "row_id", "epoch", "training")]
        types = [*[tf.string] * 5, tf.int64]
        found = tf.numpy_function(phrase_rows, columns, types, stateful=False)
        for value in found:
            value.set_shape([None])
        keys = (*FEATURES, *_TEXTS, "answers", "template")
        return {**example, **dict(zip(keys, found, strict=True))}

    def decode(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # Tokens leave the batch as bytes: a string may be of any length, and costs less than
        # a ragged tensor.
        tokens = {k: tf.io.decode_raw(example[k], tf.int32) for k in FEATURES}
        return {**example, **tokens}

    return dataset.batch(ROWS_AT_ONCE).map(add).unbatch().map(decode)


class _Limit:
    """How a feature's texts become tokens."""

    def __init__(self, feature: seqio.Feature, length: int | None):
        self._vocabulary = feature.vocabulary
        self._eos = [feature.vocabulary.eos_id] if feature.add_eos else []
        self._kept = None if length is None else length - len(self._eos)

    def tokens(self, texts: Sequence[str]) -> list[bytes]:
        """Each text's first tokens and EOS, int32; nothing for no text, as in `tokenization`."""
        encoded = self._vocabulary.encode_batch(texts)
        return [
            np.array([*ids[: self._kept], *self._eos] if text else ids, np.int32).tobytes()
            for text, ids in zip(texts, encoded, strict=True)
        ]


def _answers(text: Rendered) -> bytes:
    answers = {"options": text.options, "label": text.label, "references": text.references}
    return json.dumps(answers, ensure_ascii=False).encode()


def _give_exemplars(
    phrasers: Sequence[Phraser],
    source: RowSource,
    encode: Callable[[str], Sequence[int]],
    input_length: int,
) -> None:
    """Lets the phrasers draw from all training rows, as token caches do."""
    rows = [
        f for r in source.readers("train").values() for _, f in r.fields("train") if f is not None
    ]
    pool = ExemplarPool(source.dataset, rows, phrasers[0].seed)
    for phraser in phrasers:
        phraser.use_exemplars(pool, lambda text: len(encode(text)), input_length)


def postprocess(
    text: Any, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> dict[str, Any]:
    """What metrics compare: `text` (one, or all that are right) and `label` (or None).

    Args:
      text: a decoded output; for a target its text, which `example` says better.
      example: the task's example, with `answers`.
      is_target: whether the right answer is asked for.
    """
    from flan.evaluation.metrics import label_index

    answers = example.get("answers") if example else None
    if answers is None:
        raise ValueError("the example lacks `answers`: evaluate the task's own dataset")
    found = json.loads(answers.numpy() if isinstance(answers, tf.Tensor) else answers)
    if is_target:
        return {"text": tuple(found["references"]), "label": found["label"]}
    text = text.decode() if isinstance(text, bytes) else text
    return {"text": text, "label": label_index(found["options"], text)}


def metric_functions(dataset: Dataset) -> list[Callable[..., dict[str, float]]]:
    """The dataset's metrics, over what `postprocess` gives."""
    from flan.evaluation.metrics import get_metric

    def make(name: str) -> Callable[..., dict[str, float]]:
        metric = get_metric(name)
        value = "label" if metric.takes == "label" else "text"

        def compute(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
            return metric.function([t[value] for t in targets], [p[value] for p in predictions])

        compute.__name__ = name
        return compute

    return [make(name) for name in dataset.metrics]
