"""What a stock seqio pipeline does: TensorFlow preprocessors, TF-text tokens, seqio's packing.

The tasks phrase the same rows through the same templates as ours, as a seqio user writes
it: a string join for each template and `tf.switch_case` among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan.catalog.dataset import Dataset
from flan.catalog.registry import get_dataset
from flan.catalog.splits import plan_source
from flan.data.tfds_folder import split_sizes
from flan.templates.load import load_templates
from flan.templates.template import OPTIONS_HEADER

BATCH = 32


def packed_batches(
    datasets: tuple[str, ...],
    data_dir: Path,
    vocabulary: Path,
    lengths: dict[str, int],
    epochs: int,
) -> Iterator[np.ndarray]:
    """Segment ids `[32, inputs + targets]` of all train rows of some datasets, once an epoch."""
    tf.config.set_visible_devices([], "GPU")
    seqio.set_tfds_data_dir_override(str(data_dir))
    pieces = seqio.SentencePieceVocabulary(str(vocabulary / "sentencepiece.model"))
    parts = [
        task.get_dataset(lengths, "train", shuffle=True, seed=0, num_epochs=epochs)
        for name in datasets
        for task in tasks(get_dataset(name), data_dir, pieces)
    ]
    mixed = tf.data.Dataset.sample_from_datasets(parts, seed=0)
    packed = seqio.PrefixLMFeatureConverter(pack=True)(mixed, lengths)
    for batch in packed.batch(BATCH).prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        yield batch["decoder_segment_ids"]


def tasks(dataset: Dataset, data_dir: Path, vocabulary: Any) -> list[seqio.Task]:
    """A task for each source of a dataset with fixed options and text columns."""
    made = []
    features = {
        name: seqio.Feature(vocabulary, add_eos=True, dtype=tf.int32)
        for name in ("inputs", "targets")
    }
    for source in dataset.sources:
        piece = plan_source(source, split_sizes(data_dir, source), dataset.dev_size)["train"]
        if piece is None:
            continue
        made.append(
            seqio.Task(
                f"peer_{dataset.name}_{source.name}",
                source=seqio.TfdsDataSource(source.tfds_name, splits={"train": piece.tfds}),
                preprocessors=[
                    phrase(dataset),
                    seqio.preprocessors.tokenize,
                    seqio.preprocessors.append_eos,
                ],
                output_features=features,
            )
        )
    return made


def phrase(dataset: Dataset) -> Any:
    """A preprocessor: labelled rows through a random template each."""
    templates = load_templates(dataset.name).templates

    @seqio.map_over_dataset(num_seeds=1)
    def render(row: dict[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        def branch(template: Any) -> Any:
            options = template.options or dataset.options

            def fill() -> tuple[tf.Tensor, tf.Tensor]:
                holes = {name: row[name] for name in dataset.fields}
                holes["answer"] = tf.gather(tf.constant(options), row["label"])
                holes["options"] = tf.constant("\n- ".join((OPTIONS_HEADER, *options)))
                return join(template.input, holes), join(template.target, holes)

            return fill

        place = tf.random.stateless_uniform((), seed, maxval=len(templates), dtype=tf.int32)
        inputs, targets = tf.switch_case(place, [branch(t) for t in templates])
        return {"inputs": inputs, "targets": targets}

    def labelled(data: tf.data.Dataset) -> tf.data.Dataset:
        return render(data.filter(lambda row: row["label"] >= 0))

    return labelled


def join(text: Any, holes: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.strings.join(
        [tf.constant(p) if i % 2 == 0 else holes[p] for i, p in enumerate(text.pieces)]
    )


def pack_with_seqio(examples: Iterator[tuple[np.ndarray, int]], inputs: int, targets: int) -> float:
    """Non-padding part of the rows that seqio packs given examples into."""

    def generate() -> Iterator[dict[str, np.ndarray]]:
        for tokens, split in examples:
            yield {"inputs": tokens[:split], "targets": tokens[split:]}

    spec = tf.TensorSpec((None,), tf.int32)
    data = tf.data.Dataset.from_generator(
        generate, output_signature={"inputs": spec, "targets": spec}
    )
    lengths = {"inputs": inputs, "targets": targets}
    packed = seqio.PrefixLMFeatureConverter(pack=True)(data, lengths)
    filled = [
        float((batch["decoder_segment_ids"] > 0).mean())
        for batch in packed.batch(BATCH, drop_remainder=True).as_numpy_iterator()
    ]
    return float(np.mean(filled))
