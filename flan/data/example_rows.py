"""A few rows of a dataset to look at or to check templates on; no TensorFlow.

From a data folder where there is one, from the demo generators where there is none.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path

from flan.catalog.dataset import Dataset, Fields, Row, Source
from flan.catalog.splits import SPLITS
from flan.data.demo_rows import generator
from flan.suggest import unknown_name


@dataclasses.dataclass(frozen=True)
class ExampleRow:
    """A row and what `to_fields` makes of it.

    Attributes:
      source: name of the dataset's source that it is of.
      row_id: its number within its TFDS split, or among the generated rows.
      row: as TFDS would give it.
      fields: None if `to_fields` drops the row.
    """

    source: str
    row_id: int
    row: Row
    fields: Fields | None


def demo_examples(
    dataset: Dataset, count: int, seed: int = 0, source: Source | None = None
) -> list[ExampleRow]:
    """`count` demo rows of each source or of one, the same ones each time for a seed.

    Raises ValueError for a dataset whose cluster has no demo rows (a user's own).
    """
    examples = []
    for each in [source] if source else dataset.sources:
        try:
            generate = generator(dataset.cluster, each.tfds)
        except (KeyError, ValueError, ModuleNotFoundError):
            raise ValueError(
                f"{dataset.name}: no demo rows for {each.tfds}; read rows from a data folder"
            ) from None
        rows = generate(random.Random(f"{seed}/{each.tfds}"), count)
        for place, row in enumerate(rows):
            examples.append(ExampleRow(each.name, place, row, dataset.to_fields(row)))
    return examples


def disk_examples(
    data_dir: Path, dataset: Dataset, source: Source, split: str, count: int
) -> list[ExampleRow]:
    """The first `count` rows of a split on disk, kept or dropped by `to_fields`.

    Raises:
      FileNotFoundError: no such folder.
      ValueError: an unknown split, a source that the folder lacks, a row that fails.
    """
    from flan.data.rows import SourceReader

    if split not in SPLITS:
        raise ValueError(unknown_name("split", split, SPLITS))
    reader = SourceReader(data_dir, dataset, source)
    return [
        ExampleRow(source.name, row_id, row, reader.to_fields(split, row_id, row))
        for row_id, row in itertools.islice(reader.rows(split), count)
    ]
