"""Train, dev and test as slices of TFDS splits, from the sizes found on disk.

The rule (FLAN paper, section 2.1 and DESIGN section 4): training takes at most 30,000
rows. Where a labelled test split is public, dev is the head of the validation split.
Where it is not, the validation split serves as test and dev is taken out of the end
of the training split. Slices of one TFDS split never overlap, whatever its size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from flan.catalog.dataset import TRAIN_CAP, Dataset, Source

SPLITS = ("train", "dev", "test")


@dataclasses.dataclass(frozen=True)
class Slice:
    """Rows [start, stop) of one TFDS split."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def tfds(self) -> str:
        """TFDS's notation, `train[0:30000]`."""
        return f"{self.split}[{self.start}:{self.stop}]"


def held_back(rows: int, wanted: int) -> int:
    """How many of `rows` a smaller split may take: `wanted`, at most a fifth, at least one of two.

    The fifth keeps the official sizes (CB: 50 of 250) and leaves thin slices trainable.
    """
    return min(wanted, max(rows // 5, 1 if rows >= 2 else 0))


def plan_source(
    source: Source, sizes: Mapping[str, int], dev_size: int, cap: int = TRAIN_CAP
) -> dict[str, Slice | None]:
    """Slices of a source's train, dev and test; None for a split that it cannot have.

    Args:
      source: which TFDS splits carry labels. Where the only labelled splits are a
        validation and a test split (Story Cloze), the catalog names the first `train`.
      sizes: rows of each TFDS split on disk. A split absent here does not exist.
      dev_size: rows of dev at most.
      cap: rows of train at most.
    """

    def size(split: str | None) -> int:
        return sizes.get(split, 0) if split else 0

    train, validation, test = size(source.train), size(source.validation), size(source.test)
    plan: dict[str, Slice | None] = dict.fromkeys(SPLITS)
    free = train  # training rows not yet given away, counted from the front

    def take_from_train() -> Slice | None:
        nonlocal free
        count = held_back(free, dev_size)
        free -= count
        return Slice(str(source.train), free, free + count) if count else None

    if test:
        plan["test"] = Slice(str(source.test), 0, test)
    elif validation:
        plan["test"] = Slice(str(source.validation), 0, validation)
    elif train:  # a single split: test is cut from it as well
        plan["test"] = take_from_train()

    if test and validation:
        plan["dev"] = Slice(str(source.validation), 0, min(dev_size, validation))
    elif train:
        plan["dev"] = take_from_train()

    if free:
        plan["train"] = Slice(str(source.train), 0, min(free, cap))
    return plan


def plan_dataset(
    dataset: Dataset, sizes: Mapping[str, Mapping[str, int]], cap: int = TRAIN_CAP
) -> dict[str, dict[str, Slice | None]]:
    """`{source name: plan_source(...)}` for the sources that have sizes on disk.

    Args:
      sizes: source name -> TFDS split -> rows; sources that are not on disk are left out.
    """
    return {
        s.name: plan_source(s, sizes[s.name], dataset.dev_size, cap)
        for s in dataset.sources
        if s.name in sizes
    }
