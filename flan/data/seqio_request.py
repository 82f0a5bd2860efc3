"""What the process that reads seqio's examples is asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

from flan.data.batch import row_length


@dataclasses.dataclass(frozen=True)
class StreamRequest:
    """A stream of a task's or mixture's training examples, and this host's part of it.

    Attributes:
      name: of a seqio task or mixture, or names of ours joined by commas
        (`flan.data.names`).
      feature_lengths: tokens of `inputs` and `targets`, or of `targets` alone, at most.
      vocabulary: path of the run's vocabulary.
      batch_size: rows of the global batch.
      host, hosts: which part of its rows is wanted.
      seed: of all that is random.
      modules: Python modules to import first, which register tasks.
      data_dir: the TFDS folder of our tasks, or None.
      cap, rate: of our tasks, see `flan.data.mixture`.
      num_templates: train on the first so many templates of each of our datasets, or None.
      skip_missing: leave out of our mixtures what the data folder lacks.
      shuffle: whether seqio shuffles.
      use_cached: whether seqio reads its own offline caches.
      prefix: tokens that each example gets before its inputs: a soft prompt's places.
    """

    name: str
    feature_lengths: dict[str, int]
    vocabulary: str
    batch_size: int
    host: int
    hosts: int
    seed: int
    modules: tuple[str, ...]
    data_dir: str | None
    cap: int
    rate: int
    num_templates: int | None
    skip_missing: bool
    shuffle: bool
    use_cached: bool
    prefix: tuple[int, ...] = ()

    @property
    def row_length(self) -> int:
        """Tokens of a row."""
        return row_length(sum(self.feature_lengths.values()), len(self.prefix))

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StreamRequest:
        """The request that `to_json` gave."""
        lists: dict[str, Any] = {
            name: tuple(value[name]) for name in ("modules", "prefix") if name in value
        }
        return cls(**{**value, **lists})
