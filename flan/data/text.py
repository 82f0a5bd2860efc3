"""Raw text for pretraining: a token stream cut into full rows, with loss on every token."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence

import numpy as np

from flan.data.assemble import assemble
from flan.data.batch import Batch, check_tokens
from flan.data.loader import HostRows
from flan.data.permutation import permuted, seed_key
from flan.data.pool import Examples
from flan.data.receipt import Receipt, ReceiptLine


class TextData:
    """Batches of text, a pure function of the step; the same interface as `TrainData`.

    The documents of all caches, each with its EOS, form one stream, which is cut every
    `length` tokens; each epoch reads these rows in a new order. A piece of a document is
    a segment of its own: attention does not cross documents, and a document that goes on
    in another row starts there anew. The last row of the stream is padded.

    Attributes:
      length: tokens of a row.
      max_targets: loss positions of a row at most: all.
      fingerprint: SHA-256 in hex of all that decides the batches; hosts share it.
      receipt: the documents of each cache.
    """

    def __init__(
        self,
        caches: Mapping[str, Sequence[Examples]],
        rows: HostRows,
        *,
        length: int,
        seed: int = 0,
        bos_id: int = 0,
        vocab_size: int | None = None,
    ) -> None:
        """Opens the stream.

        Args:
          caches: name -> token caches; what they hold as inputs has loss as well.
          rows: batch size, steps and host.
          length: tokens of a row.
          seed: of the order of rows.
          bos_id: what the model reads at a segment's first place.
          vocab_size: token ids are below this; others are refused when they are read.

        Raises:
          ValueError: no tokens at all, a damaged cache, or a length below 1.
        """
        if length < 1:
            raise ValueError(f"row length must be 1 or more, got {length}")
        self.length = self.max_targets = length
        self._rows, self._seed, self._bos_id = rows, seed, bos_id
        self._vocab_size = vocab_size
        sources = [cache for group in caches.values() for cache in group]
        shards = [shard for cache in sources for shard in cache.shards]
        self._tokens = [np.asarray(shard.tokens) for shard in shards]
        self._offsets = [np.asarray(shard.offsets) for shard in shards]
        for tokens, offsets in zip(self._tokens, self._offsets, strict=True):
            if offsets[0] != 0 or offsets[-1] != len(tokens) or (np.diff(offsets) < 1).any():
                raise ValueError(
                    "the offsets of a token cache do not match its tokens: delete it, prepare again"
                )
        self._ends = np.cumsum([len(tokens) for tokens in self._tokens]).tolist()
        if not self._ends or not self._ends[-1]:
            raise ValueError(f"no text to train on: {list(caches)} hold no tokens")
        self.rows_per_epoch = -(-self._ends[-1] // length)
        inputs = [[c.fingerprint for c in sources], length, rows.batch_size, seed, bos_id]
        self.fingerprint = hashlib.sha256(json.dumps(["text", *inputs]).encode()).hexdigest()
        self.receipt = self._receipt(caches)

    @property
    def num_steps(self) -> int:
        """Steps of the run."""
        return self._rows.num_steps

    @property
    def batch_size(self) -> int:
        """Rows of the global batch."""
        return self._rows.batch_size

    def batch(self, step: int) -> Batch:
        """The rows of this host in the batch of `step`: arrays `[batch_size / num_hosts, length]`.

        Raises ValueError for a step outside `[0, num_steps)`, and for damaged tokens.
        """
        pieces: list[np.ndarray] = []
        counts = []
        for row in self._row_numbers(*self._rows.of(step)).tolist():
            before = len(pieces)
            pieces += self._pieces(row * self.length, (row + 1) * self.length)
            counts.append(len(pieces) - before)
        no_inputs = [0] * len(pieces)
        batch = assemble(pieces, no_inputs, np.array(counts), self.length, self._bos_id)
        return check_tokens(batch, self._vocab_size, step)

    def observe(self, steps: int | None = None) -> Receipt:
        """The receipt of the first `steps` steps (all by default) of all hosts.

        A document counts in the row where it begins.
        """
        steps = self.num_steps if steps is None else steps
        epochs, rest = divmod(steps * self.batch_size, self.rows_per_epoch)
        read = np.zeros(self.rows_per_epoch, bool)  # in the epoch that is not finished
        first = epochs * self.rows_per_epoch
        read[self._row_numbers(first, first + rest)] = True
        lines = []
        for line, shards in zip(self.receipt.lines, self._shards_of, strict=True):
            documents = tokens = 0
            for shard in shards:
                size = len(self._tokens[shard])
                start = self._ends[shard] - size
                documents += int(read[(start + self._offsets[shard][:-1]) // self.length].sum())
                rows = np.flatnonzero(read) * self.length
                inside = np.minimum(rows + self.length, start + size) - np.maximum(rows, start)
                tokens += int(np.maximum(inside, 0).sum()) + epochs * size
            assert line.used is not None
            documents += epochs * line.used
            lines.append(
                dataclasses.replace(
                    line,
                    expected=line.used * steps * self.batch_size / self.rows_per_epoch,
                    observed=documents,
                    tokens=tokens,
                    target_tokens=tokens,
                    epochs=documents / line.used if line.used else 0.0,
                )
            )
        rows_read = steps * self.batch_size
        density = sum(v.tokens or 0 for v in lines) / (rows_read * self.length) if steps else None
        return dataclasses.replace(self.receipt, steps=steps, lines=tuple(lines), density=density)

    def _receipt(self, caches: Mapping[str, Sequence[Examples]]) -> Receipt:
        lines = []
        self._shards_of: list[range] = []
        shard = 0
        for name, group in caches.items():
            count = sum(len(cache.shards) for cache in group)
            self._shards_of.append(range(shard, shard + count))
            shard += count
            tokens = sum(len(self._tokens[i]) for i in self._shards_of[-1])
            documents = sum(len(self._offsets[i]) - 1 for i in self._shards_of[-1])
            lines.append(
                ReceiptLine(
                    dataset=name,
                    found=sum(cache.rows_found for cache in group),
                    kept=documents,
                    used=documents,
                    rate=tokens,
                    probability=tokens / self._ends[-1],
                    cut=sum(cache.num_cut for cache in group),
                    expected=documents * self.num_steps * self.batch_size / self.rows_per_epoch,
                )
            )
        return Receipt(None, None, self.num_steps, tuple(lines))

    def _row_numbers(self, start: int, stop: int) -> np.ndarray:
        """Rows of the stream that the run's rows `[start, stop)` are."""
        epoch, place = np.divmod(np.arange(start, stop), self.rows_per_epoch)
        keys = np.array([seed_key("text", self._seed, e) for e in epoch.tolist()], np.uint64)
        return permuted(place, np.full(len(place), self.rows_per_epoch), keys)

    def _pieces(self, start: int, stop: int) -> list[np.ndarray]:
        """The stream's tokens `[start, stop)`, cut where documents end."""
        pieces = []
        shard = bisect.bisect_right(self._ends, start)
        stop = min(stop, self._ends[-1])
        while start < stop:
            first = self._ends[shard] - len(self._tokens[shard])
            a, b = start - first, min(stop, self._ends[shard]) - first
            offsets = self._offsets[shard]
            inner = offsets[np.searchsorted(offsets, a, "right") : np.searchsorted(offsets, b)]
            cuts = [a, *inner.tolist(), b]
            tokens = self._tokens[shard]
            pieces += [tokens[x:y] for x, y in itertools.pairwise(cuts)]
            start = self._ends[shard]
            shard += 1
        return pieces
