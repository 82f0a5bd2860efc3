"""TFDS rows as a seqio source, and their fields as its first preprocessing step."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan.catalog.dataset import TRAIN_CAP, Dataset, Source
from flan.data.mixture import share_out
from flan.data.row_cache import fields_to_json
from flan.data.rows import Part, SourceReader, UnusableSource

# Calling Python from a graph costs more than what it does for one row.
ROWS_AT_ONCE = 64
# Rows among which the source shuffles: records are far cheaper to read ahead than examples.
_SHUFFLED = 1024
# seqio's names of our splits.
SPLITS = {"train": "train", "validation": "dev", "test": "test"}


class RowSource(seqio.DataSource):
    """The rows of a dataset's TFDS sources, one source after the other.

    Its examples have `record` (a serialized row), `source` (place in the dataset's
    sources), `row_id` (number within the TFDS split), `row` (number among the examples of
    the split), all scalars, and `training` (1 for the train split). Unlike
    `seqio.TfdsDataSource` it keeps row numbers through shuffling and sharding, which the
    choice of templates needs, and reads several TFDS configs as one dataset.

    Args:
      data_dir: the TFDS folder. Nothing is read before it is needed.
      dataset: whose rows.
      splits: of train, validation and test, those to offer where the data have them.
      cap: rows of the train split at most, over all sources. It falls on the rows found,
        where a mixture of caches shares it out by the rows that `to_fields` keeps: counting
        these first would cost a pass over all rows. Only a dataset of several sources that is
        over the cap and whose sources drop rows unevenly draws a few other rows here.
    """

    def __init__(
        self,
        data_dir: str,
        dataset: Dataset,
        splits: Sequence[str] = tuple(SPLITS),
        cap: int = TRAIN_CAP,
    ):
        super().__init__(splits=splits)
        self.dataset = dataset
        self._data_dir = data_dir
        self._cap = cap
        self._readers: dict[int, SourceReader] = {}

    def reader(self, place: int) -> SourceReader:
        """The reader of a source; raises what `SourceReader` raises."""
        if place not in self._readers:
            source = self.dataset.sources[place]
            self._readers[place] = SourceReader(self._data_dir, self.dataset, source, self._cap)
        return self._readers[place]

    def readers(self, split: str) -> dict[int, SourceReader]:
        """Place -> reader, of the sources that can have the split; raises what `reader` raises."""
        places = range(len(self.dataset.sources))
        return {i: self.reader(i) for i in places if _can_have(self.dataset.sources[i], split)}

    @property
    def splits(self) -> Sequence[str]:
        """The splits that have rows. Where only evaluation lacks data, those of training.

        Raises what `reader` raises where no split can be read, or training cannot.
        """
        found = []
        for split in self._splits:  # train comes first
            try:
                if self._parts(split):
                    found.append(split)
            except UnusableSource:
                if split == "train" or not found:
                    raise
        return found

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """False: a shard is a part of a file, at least."""
        return False

    def list_shards(self, split: str) -> Sequence[str]:
        """One name for each file that the split reads."""
        return [f"{part.path}[{part.start}:{part.stop}]" for _, part in self._parts(split)]

    def num_input_examples(self, split: str) -> int:
        """Rows of a split before `to_fields` drops any."""
        return sum(part.stop - part.start for _, part in self._parts(split))

    @property
    def most_rows(self) -> int:
        """Rows of the largest split."""
        return max((self.num_input_examples(split) for split in self.splits), default=0)

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        *,
        sequence_length: Mapping[str, int] | None = None,
        use_cached: bool = False,
        num_epochs: int | None = 1,
    ) -> tf.data.Dataset:
        """Rows of a split; in file order unless shuffled."""
        del sequence_length, use_cached, num_epochs  # of no concern to a source
        parts = self._parts(split)
        numbers = [(p.start, p.stop - p.start, p.row_id, source) for source, p in parts]
        start, count, row_id, place = np.array(numbers, np.int64).reshape(-1, 4).T
        files = tf.data.Dataset.from_tensor_slices(
            {
                "path": [str(part.path) for _, part in parts],
                "start": start,
                "count": count,
                "row_id": row_id,
                "source": place,
                "row": np.cumsum(count) - count,
            }
        )
        if shard_info:
            files = files.shard(shard_info.num_shards, shard_info.index)
        read = functools.partial(_read_part, training=int(split == "train"))
        if not shuffle:
            return files.flat_map(read)
        files = files.shuffle(len(parts), seed=seed)
        rows = files.interleave(read, cycle_length=16, block_length=16)
        return rows.shuffle(_SHUFFLED, seed=seed)

    def rows_kept(self, split: str, limit: int) -> int:
        """Rows that `to_fields` keeps, counted up to `limit`."""
        kept = 0
        for source, part in self._parts(split):
            reader = self.reader(source)
            for row_id, row in reader.part_rows(part):
                kept += reader.to_fields(SPLITS[split], row_id, row) is not None
                if kept >= limit:
                    return kept
        return kept

    def _parts(self, split: str) -> list[tuple[int, Part]]:
        """Place of the source, and part of a file, for all files of a split."""
        if split not in self._splits:
            raise ValueError(f"{self.dataset.name} has no split {split!r}; it has {self._splits}")
        readers = self.readers(split)
        parts = [reader.parts(SPLITS[split]) for reader in readers.values()]
        if split == "train":
            parts = _cap_parts(parts, self._cap)
        return [(place, p) for place, found in zip(readers, parts, strict=True) for p in found]


def _can_have(source: Source, split: str) -> bool:
    """Whether a source gives rows to a split, as `flan.catalog.splits` shares them out."""
    if split == "validation":
        return source.train is not None or (source.validation is not None and bool(source.test))
    return split == "test" or source.train is not None


def _cap_parts(sources: list[list[Part]], cap: int) -> list[list[Part]]:
    """The heads of the sources that a cap leaves, shared out as the mixture does."""
    sizes = [sum(part.stop - part.start for part in parts) for parts in sources]
    capped = []
    for parts, left in zip(sources, share_out(cap, sizes), strict=True):
        kept = []
        for part in parts:
            count = min(left, part.stop - part.start)
            left -= count
            if count:
                kept.append(part._replace(stop=part.start + count))
        capped.append(kept)
    return capped


def _read_part(part: Mapping[str, tf.Tensor], training: int) -> tf.data.Dataset:
    count = part["count"]
    records = tf.data.TFRecordDataset(part["path"]).skip(part["start"]).take(count)
    records = records.apply(tf.data.experimental.assert_cardinality(count))
    numbers = tf.data.Dataset.range(count)

    def example(number: tf.Tensor, record: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "source": part["source"],
            "row_id": part["row_id"] + number,
            "row": part["row"] + number,
            "training": tf.constant(training, tf.int64),
            "record": record,
        }

    return tf.data.Dataset.zip((numbers, records)).map(example)


def add_fields(dataset: tf.data.Dataset, source: RowSource) -> tf.data.Dataset:
    """Replaces `record` by `fields`, a row's fields as JSON, and leaves out rows that have none."""

    def fields_of(record: bytes, place: int, row_id: int, training: int) -> bytes:
        reader = source.reader(int(place))
        split = "train" if training else "an evaluation split"
        fields = reader.to_fields(split, int(row_id), reader.decode(record))
        return b"" if fields is None else fields_to_json(fields)

    def fields_of_rows(*columns: np.ndarray) -> np.ndarray:
        return np.array([fields_of(*row) for row in zip(*columns, strict=True)], object)

    def add(example: dict[str, tf.Tensor]) -> dict[str, Any]:
        inputs = [example[k] for k in ("record", "source", "row_id", "training")]
        fields = tf.numpy_function(fields_of_rows, inputs, tf.string, stateful=False)
        fields.set_shape([None])
        return {**{k: v for k, v in example.items() if k != "record"}, "fields": fields}

    found = dataset.batch(ROWS_AT_ONCE).map(add).unbatch()
    return found.filter(lambda example: tf.strings.length(example["fields"]) > 0)
