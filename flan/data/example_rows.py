"""A few rows of a dataset to look at or to check templates on, without a data folder.

They come from the demo generators, so nothing has to be downloaded and TensorFlow is not
imported; `flan.data.rows` reads real ones.
"""

from __future__ import annotations

import dataclasses
import random

from flan.catalog.dataset import Dataset, Fields, Row
from flan.data.demo_rows import generator


@dataclasses.dataclass(frozen=True)
class ExampleRow:
    """A row and what `to_fields` makes of it.

    Attributes:
      source: name of the dataset's source that it is of.
      row: as TFDS would give it.
      fields: None if `to_fields` drops the row.
    """

    source: str
    row: Row
    fields: Fields | None


def demo_examples(dataset: Dataset, count: int, seed: int = 0) -> list[ExampleRow]:
    """`count` demo rows of each source, the same ones each time for a seed.

    Raises ValueError for a dataset whose cluster has no demo rows (a user's own).
    """
    examples = []
    for source in dataset.sources:
        try:
            generate = generator(dataset.cluster, source.tfds)
        except (KeyError, ValueError, ModuleNotFoundError):
            raise ValueError(
                f"{dataset.name}: no demo rows for {source.tfds}; read rows from a data folder"
            ) from None
        for row in generate(random.Random(f"{seed}/{source.tfds}"), count):
            examples.append(ExampleRow(source.name, row, dataset.to_fields(row)))
    return examples
