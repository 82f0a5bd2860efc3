"""Examples-proportional mixing with a rate limit, as an exact schedule instead of dice.

A dataset of n rows is drawn with probability min(n, 3,000) / sum of these (FLAN paper,
section 2.2; T5's mixing), where n counts the rows that survive the filters, of all its
sources together, and at most 30,000. After N draws of the mixture each dataset has been
drawn `round(N * probability)` times: never more than half an example from its share, and
its place in its own shuffled rows is known for any N without walking there.

(Rounding each dataset by itself, and not giving a fixed total out by largest remainders,
keeps the counts from ever having to fall between N and N + 1 for a dataset whose share of
a window is below one example.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flan.catalog.dataset import TRAIN_CAP
from flan.data.permutation import permuted, seed_key

RATE_LIMIT = 3_000
WINDOW = 16_384  # draws; the mixture is exact at every multiple


@dataclasses.dataclass(frozen=True)
class Component:
    """A dataset's part in a mixture.

    Attributes:
      name: the dataset.
      kept: rows that each of its sources holds after the filters.
      used: rows taken from the head of each source, so that their sum is at most the cap;
        a cut falls on the sources in proportion to their rows.
      rate: weight in the mixture; 0 for a dataset without rows.
    """

    name: str
    kept: tuple[int, ...]
    used: tuple[int, ...]
    rate: int

    @property
    def rows(self) -> int:
        """Rows that may be drawn."""
        return sum(self.used)


class Draws(NamedTuple):
    """Draws in schedule order, arrays `[n]`: int32 component, int64 row of it, int64 epoch."""

    component: np.ndarray
    row: np.ndarray
    epoch: np.ndarray


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Which rows are drawn, for as long as one likes: a pure function of components and seed."""

    components: tuple[Component, ...]
    seed: int

    @property
    def total_rate(self) -> int:
        """Sum of the rates."""
        return sum(c.rate for c in self.components)

    @property
    def probabilities(self) -> np.ndarray:
        """float64 `[components]`, summing to 1."""
        return np.array([c.rate for c in self.components], np.float64) / self.total_rate

    def counts(self, draws: int) -> list[int]:
        """How often each component has been drawn after `draws` draws: its share, rounded."""
        total = self.total_rate
        return [(2 * draws * c.rate + total) // (2 * total) for c in self.components]

    def window(self, number: int) -> Draws:
        """The draws of window `number`, component by component; their count is near `WINDOW`."""
        first, last = self.counts(number * WINDOW), self.counts((number + 1) * WINDOW)
        size = np.subtract(last, first)
        component = np.repeat(np.arange(len(size), dtype=np.int32), size)
        ends = np.cumsum(size)
        ordinal = np.arange(len(component)) + np.repeat(first - (ends - size), size)
        return Draws(component, *self._rows(component, ordinal))

    def _rows(self, component: np.ndarray, ordinal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and epoch of each component's `ordinal`-th draw: every epoch is a new shuffle."""
        sizes = np.array([max(1, c.rows) for c in self.components], np.int64)
        keys = np.array([seed_key("rows", self.seed, c.name) for c in self.components], np.uint64)
        size = sizes[component]
        epoch, place = np.divmod(ordinal, size)
        key = keys[component] ^ (epoch.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        return permuted(place, size, key), epoch


def make_mixture(
    kept: Mapping[str, Sequence[int]],
    *,
    cap: int = TRAIN_CAP,
    rate: int = RATE_LIMIT,
    seed: int = 0,
    skip_empty: bool = True,
) -> Mixture:
    """The mixture of some datasets.

    Args:
      kept: dataset name -> rows left by the filters in each of its sources.
      cap: rows of a dataset that may be drawn, at most.
      rate: a dataset's weight, at most.
      seed: of the shuffles.
      skip_empty: whether a dataset without rows stays in the mixture at rate 0, where
        the receipt shows it, or is an error.

    Raises:
      ValueError: no dataset has rows, an empty dataset with `skip_empty` off, or a cap or
        rate below 1.
    """
    if cap < 1 or rate < 1:
        raise ValueError(f"cap and rate must be 1 or more, got cap={cap}, rate={rate}")
    empty = [name for name, rows in kept.items() if not sum(rows)]
    if len(empty) == len(kept):
        raise ValueError(
            f"no rows to train on: {empty} are all empty"
            if empty
            else "no datasets to train on: name at least one"
        )
    if empty and not skip_empty:
        raise ValueError(f"datasets without a single usable row: {empty}; leave them out")
    components = []
    for name, rows in kept.items():
        used = share_out(cap, rows)
        components.append(Component(name, tuple(rows), used, min(sum(used), rate)))
    return Mixture(tuple(components), seed)


def share_out(total: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """`total` things from piles of `sizes`, in proportion, by largest remainder; all if too few."""
    available = sum(sizes)
    if available <= total:
        return tuple(sizes)
    shares = [divmod(total * size, available) for size in sizes]
    taken = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (-shares[i][1], i))
    for i in by_remainder[: total - sum(taken)]:
        taken[i] += 1
    return tuple(taken)
