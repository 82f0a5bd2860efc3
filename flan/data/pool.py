"""All examples that a run may read, numbered across the caches of its datasets.

Example numbers count through the datasets in mixture order, their sources, and the
source's shards. Nothing but the caches' own arrays is held, and those are memory-mapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from flan.data.mixture import Draws, Mixture


class Shard(Protocol):
    """A part of a cache, as arrays that may be memory maps."""

    @property
    def tokens(self) -> np.ndarray:
        """int32 `[tokens]`: the examples, inputs + EOS + targets + EOS each, end to end."""

    @property
    def offsets(self) -> np.ndarray:
        """int64 `[examples + 1]`: where each example starts in `tokens`, and where the last ends."""

    @property
    def input_lengths(self) -> np.ndarray:
        """int32 `[examples]`: tokens of each example's inputs with their EOS."""


class Examples(Protocol):
    """The tokenized examples of one source; `flan.data.cache.TaskCache` is one."""

    @property
    def fingerprint(self) -> str:
        """Names the content: other examples, other fingerprint."""

    @property
    def rows_found(self) -> int:
        """Rows of the source before filters."""

    @property
    def num_rows(self) -> int:
        """Rows of the source after them."""

    @property
    def renderings(self) -> int:
        """Times that each row is there, phrased anew; example `rendering * num_rows + row`."""

    @property
    def num_cut(self) -> int:
        """Examples that were over the length limits and lost their tail."""

    @property
    def shards(self) -> Sequence[Shard]:
        """The examples in order, `num_rows * renderings` in all."""


class ExamplePool:
    """Examples by number, out of many caches."""

    def __init__(
        self,
        mixture: Mixture,
        caches: Mapping[str, Sequence[Examples]],
        prefix: Sequence[int] = (),
    ) -> None:
        """Numbers the examples.

        Args:
          mixture: which datasets, and how many rows of each source.
          caches: dataset name -> the caches of its sources, in the mixture's order.
          prefix: tokens that each example gets before its inputs, which count as inputs: the
            places of a soft prompt.
        """
        self._prefix = np.array(prefix, np.int32)
        sources = [cache for c in mixture.components for cache in caches[c.name]]
        used = [rows for c in mixture.components for rows in c.used]
        assert len(sources) == len(used)
        shards = [shard for cache in sources for shard in cache.shards]
        self.fingerprints = [cache.fingerprint for cache in sources]
        if prefix:
            self.fingerprints.append(f"after {list(prefix)}")
        # Plain arrays: slicing np.memmap itself costs ten times as much.
        self._tokens = [np.asarray(shard.tokens) for shard in shards]
        self._offsets = [np.asarray(shard.offsets) for shard in shards]
        self._input_lengths = [np.asarray(shard.input_lengths) for shard in shards]
        self._shard_ends = np.cumsum([len(lengths) for lengths in self._input_lengths])
        self._rows = np.array([cache.num_rows for cache in sources], np.int64)
        self._renderings = np.array([cache.renderings for cache in sources], np.int64)
        source_ends = np.cumsum(self._rows * self._renderings)
        self._source_starts = source_ends - self._rows * self._renderings
        self._used_ends = np.cumsum(used)
        self._used_starts = self._used_ends - used
        rows = np.array([c.rows for c in mixture.components], np.int64)
        self._component_starts = np.cumsum(rows) - rows
        sources_of = [len(c.used) for c in mixture.components]
        self._num_components = len(sources_of)
        self._component_of_source = np.repeat(np.arange(len(sources_of)), sources_of)
        self._source_ends = source_ends
        self.num_examples = int(source_ends[-1])
        held = sum(map(len, self._input_lengths))
        if self.num_examples != held:
            raise ValueError(
                f"the caches promise {self.num_examples} examples and hold {held}: "
                "a cache is damaged, delete it and prepare it again"
            )

    def numbers(self, draws: Draws) -> np.ndarray:
        """int64 `[n]`: example numbers; epoch e of a row reads its rendering e, going round."""
        used_row = self._component_starts[draws.component] + draws.row
        source = np.searchsorted(self._used_ends, used_row, side="right")
        row = used_row - self._used_starts[source]
        rendering = draws.epoch % self._renderings[source]
        return self._source_starts[source] + rendering * self._rows[source] + row

    def components(self, numbers: np.ndarray) -> np.ndarray:
        """int64 `[n]`: place in the mixture of each example's dataset."""
        source = np.searchsorted(self._source_ends, numbers, side="right")
        return self._component_of_source[source]

    def lengths(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 `[n]` each: tokens, and tokens of the inputs, of examples given by number."""
        lengths = np.empty(len(numbers), np.int64)
        input_lengths = np.empty(len(numbers), np.int64)
        for shard, places, local in self._by_shard(numbers):
            offsets = self._offsets[shard]
            lengths[places] = offsets[local + 1] - offsets[local]
            input_lengths[places] = self._input_lengths[shard][local]
        return lengths + len(self._prefix), input_lengths + len(self._prefix)

    def longest(self) -> tuple[int, int]:
        """Most tokens, and most target tokens, of any example; ValueError for damaged caches."""
        length = targets = 0
        for tokens, offsets, inputs in zip(
            self._tokens, self._offsets, self._input_lengths, strict=True
        ):
            if not len(inputs):
                continue
            lengths = np.diff(offsets)
            whole = offsets[0] == 0 and offsets[-1] == len(tokens) and len(lengths) == len(inputs)
            if not whole or lengths.min() < 1 or inputs.min() < 0 or (inputs > lengths).any():
                raise ValueError(
                    "the offsets of a token cache do not match its tokens: delete it, prepare again"
                )
            length = max(length, int(lengths.max()))
            targets = max(targets, int((lengths - inputs).max()))
        return length + len(self._prefix), targets

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 `[components]` each: mean tokens, and mean target tokens, of an example."""
        count, tokens, inputs = np.zeros((3, self._num_components), np.int64)
        shard = 0
        for source, component in enumerate(self._component_of_source.tolist()):
            end = self._source_ends[source]
            while shard < len(self._shard_ends) and self._shard_ends[shard] <= end:
                count[component] += len(self._input_lengths[shard])
                tokens[component] += len(self._tokens[shard])
                inputs[component] += self._input_lengths[shard].sum(dtype=np.int64)
                shard += 1
        count = np.maximum(count, 1)
        return tokens / count + len(self._prefix), (tokens - inputs) / count

    def read(self, numbers: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
        """Token arrays (views, not copies) and input lengths of examples, in the order given."""
        shards = np.searchsorted(self._shard_ends, numbers, side="right").tolist()
        tokens, input_lengths = [], []
        for shard, number in zip(shards, numbers.tolist(), strict=True):
            lengths = self._input_lengths[shard]
            local = number - int(self._shard_ends[shard]) + len(lengths)
            offsets = self._offsets[shard]
            tokens.append(self._tokens[shard][offsets[local] : offsets[local + 1]])
            input_lengths.append(lengths[local])
        if len(self._prefix):
            tokens = [np.concatenate([self._prefix, example]) for example in tokens]
            input_lengths = [len(self._prefix) + length for length in input_lengths]
        return tokens, input_lengths

    def _by_shard(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Groups examples: shard, their places in `numbers`, their places in the shard."""
        shards = np.searchsorted(self._shard_ends, numbers, side="right")
        order = np.argsort(shards, kind="stable")
        found, starts = np.unique(shards[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        for shard, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True):
            places = order[start:end]
            first = self._shard_ends[shard] - len(self._input_lengths[shard])
            yield shard, places, numbers[places] - first
