"""Few-shot exemplars: which solved examples stand before a query.

Drawn from training rows of the same dataset by a generator seeded with (seed, dataset,
row), so that any machine and any order of rows gives the same ones. The query itself is
never among them, judged by content: the same text may be in a dataset twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence

from flan.catalog.dataset import Dataset, Fields

# Tokens of a whole few-shot input (paper, section 4.4).
TOKEN_BUDGET = 960

# Exemplars in a row that may be too long before the draw stops looking for shorter ones.
_MISSES = 8


def content_key(fields: Fields) -> Hashable:
    """What makes two examples the same query: their values, whatever the case or spacing."""
    return tuple(sorted((k, " ".join(v.split()).casefold()) for k, v in fields.values.items()))


class ExemplarPool:
    """Training rows to draw exemplars from.

    Args:
      dataset: whose rows they are; a classification dataset's draws are balanced over
        the classes.
      rows: the training rows' fields, at least one.
      seed: of the experiment.

    Raises:
      ValueError: `rows` is empty.
    """

    def __init__(self, dataset: Dataset, rows: Sequence[Fields], seed: int = 0):
        if not len(rows):
            raise ValueError(
                f"{dataset.name}: no training rows to draw few-shot exemplars from; "
                "prepare the dataset's train split, or ask for no shots"
            )
        self.dataset = dataset
        self.rows = rows
        self.seed = seed
        groups: dict[int | None, list[int]] = {}
        balanced = dataset.task_type == "classification"
        for index, fields in enumerate(rows):
            groups.setdefault(fields.label if balanced else None, []).append(index)
        self._groups = [groups[label] for label in sorted(groups, key=str)]

    def draw(
        self,
        query: Fields,
        row: int | str,
        count: int,
        cost: Callable[[Fields], int] | None = None,
        budget: int = TOKEN_BUDGET,
    ) -> tuple[Fields, ...]:
        """Up to `count` exemplars for a query, none with the query's content, none twice.

        Args:
          query: the example that they will precede.
          row: identifies the query (its row id); part of the seed.
          count: exemplars wanted. Fewer come back from a pool with fewer other examples,
            or where they do not fit.
          cost: tokens of an exemplar, separators included; None ignores the budget.
          budget: tokens of all exemplars together, at most. A long exemplar is passed
            over for another of its class.
        """
        rng = random.Random(f"{self.seed}/{self.dataset.name}/{row}")
        wanted = 4 * count + 2 * _MISSES
        left = [rng.sample(group, min(len(group), wanted)) for group in self._groups]
        rng.shuffle(left)
        taken = [0] * len(left)
        seen = {content_key(query)}
        chosen: list[Fields] = []
        misses = 0
        while len(chosen) < count and misses < _MISSES and any(left):
            # The class that has had the fewest, so that long rows do not tip the balance.
            group = min((g for g in range(len(left)) if left[g]), key=taken.__getitem__)
            candidate = self.rows[left[group].pop()]
            key = content_key(candidate)
            if key in seen:
                continue
            tokens = cost(candidate) if cost else 0
            if cost and tokens > budget:
                misses += 1
                continue
            misses = 0
            budget -= tokens
            taken[group] += 1
            seen.add(key)
            chosen.append(candidate)
        # Classes that always come in the same turn would tell the query's answer.
        rng.shuffle(chosen)
        return tuple(chosen)
