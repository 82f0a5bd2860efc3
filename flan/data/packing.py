"""The packing plan: which examples share which row, for a whole run, by number only.

The mixture's draws come in windows. Each window is shuffled and packed by itself: all that
it draws is in its rows, once, and at its end the mixture is exact again. (Its last rows
have little left to choose from; of 2,300 rows that costs 0.03% of the space.) A row depends
on nothing later: a longer run reads the same rows first.

Windows are kept in part files, made when first asked for and read back by a resumed run,
so neither memory nor the wait for the first step grows with the run. The first parts hold
1, 1, 2 and 4 windows, so that a run begins, and a short one ends, after little planning.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import math
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flan.data import atomic
from flan.data.best_fit import pack
from flan.data.mixture import WINDOW, Mixture
from flan.data.permutation import seed_key, shuffled
from flan.data.pool import ExamplePool

log = logging.getLogger("flan")

VERSION = 1
# The target tokens that a row may have, over those that a mean row has: enough that rows
# fill up by length first. On FLAN (188 a row of 1280, so 384 may be) it costs 0.02% of the
# space, and the vocabulary product shrinks to 384 places a row.
_TARGET_SLACK = 1.8
_TARGET_MULTIPLE = 64
WINDOWS_PER_PART = 8  # of all but the first parts; a power of two
_LAYOUT = 2  # of the part files: raise it when other windows go into a part
_PARTS_IN_MEMORY = 4
_PART = re.compile(r"part-(\d{6,})-(\d+)rows\.npz")


class Rows(NamedTuple):
    """Some rows of the plan: int64 `examples`, row by row, and int64 `counts` of each row."""

    examples: np.ndarray
    counts: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some windows: examples row by row, and where each row ends in them."""

    examples: np.ndarray
    row_ends: np.ndarray


class PackingPlan:
    """Rows of example numbers without end, a pure function of mixture, caches and limits."""

    def __init__(
        self,
        mixture: Mixture,
        pool: ExamplePool,
        *,
        row_length: int,
        max_targets: int | None = None,
        folder: Path | None = None,
    ) -> None:
        """Plans nothing yet.

        Args:
          mixture: what is drawn.
          pool: the examples.
          row_length: tokens of a row at most.
          max_targets: target tokens of a row at most, so that logits are needed at so many
            places; None: `suggested_max_targets`.
          folder: where plans are kept, each in a sub-folder of its fingerprint; None: in
            memory only, as where the folder cannot be written.

        Raises:
          ValueError: an example is longer than a row or has more targets than a row may,
            or a cache is damaged.
        """
        self.row_length = row_length
        if max_targets is None:
            max_targets = suggested_max_targets(mixture, pool, row_length)
        self.max_targets = max_targets
        _check_limits(pool, row_length, max_targets)
        self._mixture, self._pool = mixture, pool
        self.fingerprint = self._fingerprint()
        self._dtype = np.uint32 if pool.num_examples < 2**32 else np.int64
        self._lock = threading.Lock()
        self._parts: OrderedDict[int, _Part] = OrderedDict()
        self._ends: list[int] = []  # rows up to the end of each part
        self._read_only = False
        self._folder = folder / f"plan-{self.fingerprint[:16]}-{_LAYOUT}" if folder else None
        if self._folder:
            with self._unless_read_only():
                self._folder.mkdir(parents=True, exist_ok=True)
            if self._folder.is_dir():
                self._find_parts()

    @property
    def planned_rows(self) -> int:
        """Rows that are planned so far."""
        return self._ends[-1] if self._ends else 0

    def rows(self, start: int, stop: int) -> Rows:
        """Rows `[start, stop)`, planned now if they are not yet. Safe to call from threads."""
        assert 0 <= start <= stop
        examples, counts = [], []
        with self._lock:
            while self.planned_rows < stop:
                self._ends.append(self.planned_rows + len(self._part(len(self._ends)).row_ends))
            number = bisect.bisect_right(self._ends, start)
            while start < stop:
                first = self._ends[number - 1] if number else 0
                part = self._part(number)
                ends = part.row_ends[max(0, start - first - 1) : stop - first].astype(np.int64)
                if start == first:
                    ends = np.concatenate([[0], ends])
                examples.append(part.examples[ends[0] : ends[-1]].astype(np.int64))
                counts.append(np.diff(ends))
                start = min(stop, self._ends[number])
                number += 1
        if not counts:
            return Rows(np.zeros(0, np.int64), np.zeros(0, np.int64))
        return Rows(np.concatenate(examples), np.concatenate(counts))

    def _part(self, number: int) -> _Part:
        if number in self._parts:
            self._parts.move_to_end(number)
            return self._parts[number]
        part = self._load(number)
        if part is None:
            part = self._make(number)
            self._check_rows(number, part)
            self._save(number, part)
        self._parts[number] = part
        if self._folder and not self._read_only and len(self._parts) > _PARTS_IN_MEMORY:
            self._parts.popitem(last=False)
        return part

    def _make(self, number: int) -> _Part:
        seed = self._mixture.seed
        examples, counts = [], []
        for window in windows_of_part(number):
            drawn = self._pool.numbers(self._mixture.window(window))
            drawn = drawn[shuffled(len(drawn), seed_key("draws", seed, window))]
            lengths, input_lengths = self._pool.lengths(drawn)
            packed = pack(
                lengths,
                lengths - input_lengths,
                row_length=self.row_length,
                max_targets=self.max_targets,
            )
            # Later rows of a window choose from a poorer pool: spread them over it.
            order = shuffled(len(packed.counts), seed_key("rows", seed, window))
            rows = np.repeat(np.arange(len(order)), packed.counts)
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            by_row = np.argsort(place[rows], kind="stable")
            examples.append(drawn[packed.items[by_row]])
            counts.append(packed.counts[order])
        row_ends = np.cumsum(np.concatenate(counts)).astype(np.int32)
        return _Part(np.concatenate(examples).astype(self._dtype), row_ends)

    def _check_rows(self, number: int, part: _Part) -> None:
        """Refuses a plan folder whose file names promise other rows than the plan has."""
        if number < len(self._ends):
            start = self._ends[number - 1] if number else 0
            if self._ends[number] - start != len(part.row_ends):
                raise ValueError(f"{self._folder}: not the files of this plan; delete the folder")

    def _find_parts(self) -> None:
        """Learns from the file names how many rows the parts on disk have."""
        assert self._folder
        rows = {}
        for path in self._folder.iterdir():
            if match := _PART.fullmatch(path.name):
                rows[int(match[1])] = int(match[2])
        while len(self._ends) in rows:
            self._ends.append(self.planned_rows + rows[len(self._ends)])

    def _path(self, number: int, rows: int) -> Path:
        assert self._folder
        return self._folder / f"part-{number:06d}-{rows}rows.npz"

    def _load(self, number: int) -> _Part | None:
        """A part from its file; None where there is none or it is damaged (it is then remade)."""
        if not self._folder or number >= len(self._ends):
            return None
        rows = self._ends[number] - (self._ends[number - 1] if number else 0)
        path = self._path(number, rows)
        try:
            with np.load(path, allow_pickle=False) as file:
                part = _Part(file["examples"], file["row_ends"])
            if len(part.row_ends) == rows and self._is_sound(number, part):
                return part
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
            pass
        with self._unless_read_only():
            path.unlink(missing_ok=True)
        return None

    def _is_sound(self, number: int, part: _Part) -> bool:
        """Whether a part read from disk has the draws of its windows, in rows within the limits."""
        ends, examples = part.row_ends, part.examples
        if (
            (examples.dtype, ends.dtype) != (self._dtype, np.int32)
            or ends[-1] != len(examples)
            or not (np.diff(ends, prepend=0) > 0).all()
        ):
            return False
        windows = map(self._mixture.window, windows_of_part(number))
        drawn = np.concatenate([self._pool.numbers(draws) for draws in windows])
        if not np.array_equal(np.sort(examples), np.sort(drawn)):
            return False
        lengths, input_lengths = self._pool.lengths(examples.astype(np.int64))
        starts = np.concatenate([[0], ends[:-1]])
        both = (lengths, lengths - input_lengths)
        tokens, targets = (np.add.reduceat(counts, starts).max() for counts in both)
        return bool(tokens <= self.row_length and targets <= self.max_targets)

    def _save(self, number: int, part: _Part) -> None:
        if not self._folder or self._read_only:
            return
        content = io.BytesIO()
        np.savez(content, **dataclasses.asdict(part))
        with self._unless_read_only():
            atomic.write_file(self._path(number, len(part.row_ends)), content.getvalue())

    @contextlib.contextmanager
    def _unless_read_only(self) -> Iterator[None]:
        """Goes on where the folder of shared caches may only be read: plans then stay in memory."""
        try:
            yield
        except OSError as error:
            if error.errno not in atomic.READ_ONLY:
                raise
            if not self._read_only:
                log.warning("packing plans are kept in memory: %s", error)
            self._read_only = True

    def _fingerprint(self) -> str:
        """SHA-256 of all that decides the rows."""
        inputs: dict[str, Any] = {
            "version": VERSION,
            "components": [[c.name, c.used, c.rate] for c in self._mixture.components],
            "seed": self._mixture.seed,
            "caches": self._pool.fingerprints,
            "row_length": self.row_length,
            "max_targets": self.max_targets,
            "windows": WINDOW,
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def windows_of_part(number: int) -> range:
    """The windows in a part file: 0, 1, 2 and 3, 4 to 7, then eight each."""
    doublings = WINDOWS_PER_PART.bit_length() - 1
    if number <= doublings:
        return range(1 << number >> 1, 1 << number)
    first = (number - doublings) * WINDOWS_PER_PART
    return range(first, first + WINDOWS_PER_PART)


def suggested_max_targets(mixture: Mixture, pool: ExamplePool, row_length: int) -> int:
    """Target tokens that a row may have without being the reason that it is not full."""
    tokens, targets = (float(mixture.probabilities @ means) for means in pool.means())
    return target_limit(row_length, pool.longest()[1], targets / tokens)


def target_limit(row_length: int, longest: int, share: float) -> int:
    """The limit for examples of up to `longest` targets that are `share` of all tokens."""
    wanted = max(longest, _TARGET_SLACK * row_length * share)
    return min(row_length, math.ceil(wanted / _TARGET_MULTIPLE) * _TARGET_MULTIPLE)


def _check_limits(pool: ExamplePool, row_length: int, max_targets: int) -> None:
    length, targets = pool.longest()
    if length > row_length:
        raise ValueError(
            f"the longest example has {length} tokens and a row only {row_length}: "
            "use longer rows, or prepare with shorter inputs and targets"
        )
    if targets > max_targets:
        raise ValueError(
            f"an example has {targets} target tokens and a row may have {max_targets}: "
            "raise max_targets, or prepare with shorter targets"
        )
