"""Packs a pool of examples into rows: random company, exact fit.

A row takes examples in the pool's (shuffled) order while they fit, and is then closed by
whatever fills it best: one example of exactly the room left, else two that sum to it, else
the longest that goes in. So most of a row's content is random, and only its last piece is
chosen by length. The available lengths are the bits of one big integer, which makes each
of these questions a shift and an AND (about 0.6 us an example in all).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A random example that would leave less room than this (but some) is not taken: few
# examples are that short, so the row could not be closed well.
_SLACK = 64
# How many lengths, and examples of each, are tried for one whose targets fit too.
_TRIES = 8


class Packed(NamedTuple):
    """Rows over a pool: int64 `items`, places in the pool, row by row; int64 `counts` of each row."""

    items: np.ndarray
    counts: np.ndarray


def pack(
    lengths: np.ndarray,
    targets: np.ndarray,
    *,
    row_length: int,
    max_targets: int,
) -> Packed:
    """Rows of at most `row_length` tokens, of which at most `max_targets` are targets.

    Args:
      lengths: int `[n]`, tokens of each example, 1 to `row_length`.
      targets: int `[n]`, target tokens of each example, at most `max_targets`.
      row_length: tokens of a row.
      max_targets: target tokens of a row.

    Returns:
      Rows in which each example appears exactly once.
    """
    count = len(lengths)
    assert count == len(targets)
    assert count == 0 or (lengths.min() >= 1 and lengths.max() <= row_length)
    assert count == 0 or targets.max() <= max_targets
    return _Packer(lengths, targets, row_length, max_targets).run()


class _Packer:
    """The pool: which examples are free, and by length, which lengths are to be had.

    Plain lists and ints: element access to NumPy arrays costs more than the whole rest.
    """

    def __init__(
        self, lengths: np.ndarray, targets: np.ndarray, row_length: int, max_targets: int
    ) -> None:
        self.row_length, self.max_targets = row_length, max_targets
        self.lengths: list[int] = lengths.tolist()
        self.targets: list[int] = targets.tolist()
        self.used = bytearray(len(self.lengths) + 1)  # one more, free forever, ends searches
        # Places by length, the first in the pool on top; entries used meanwhile stay until met.
        self.stacks: list[list[int]] = [[] for _ in range(row_length + 1)]
        for place in range(len(self.lengths) - 1, -1, -1):
            self.stacks[self.lengths[place]].append(place)
        self.free = [len(stack) for stack in self.stacks]
        # Bit l of `available`, and bit row_length - l of `mirrored`: a free example of length l.
        self.available = self.mirrored = 0
        for length, free in enumerate(self.free):
            if free:
                self.available |= 1 << length
                self.mirrored |= 1 << (row_length - length)
        self.up_to = [(1 << (length + 1)) - 1 for length in range(row_length + 1)]

    def run(self) -> Packed:
        lengths, targets, used = self.lengths, self.targets, self.used
        items: list[int] = []
        counts: list[int] = []
        count = len(lengths)
        place = 0
        while place < count:
            start = len(items)
            room, target_room = self.row_length, self.max_targets
            while True:
                while used[place]:
                    place += 1
                if place == count:
                    break
                after = room - lengths[place]
                starts = room == self.row_length
                if targets[place] > target_room or (after < _SLACK and after and not starts):
                    break
                self._take(place)
                items.append(place)
                room, target_room = after, target_room - targets[place]
                if not room:
                    break
            while room and (closing := self._best(room, target_room)) >= 0:
                self._take(closing)
                items.append(closing)
                room, target_room = room - lengths[closing], target_room - targets[closing]
            counts.append(len(items) - start)
            while used[place]:
                place += 1
        return Packed(np.array(items, np.int64), np.array(counts, np.int64))

    def _take(self, place: int) -> None:
        self.used[place] = 1
        length = self.lengths[place]
        self.free[length] -= 1
        if not self.free[length]:
            self.available ^= 1 << length
            self.mirrored ^= 1 << (self.row_length - length)

    def _best(self, room: int, target_room: int) -> int:
        """A free example to put into `room`; -1 when none fits."""
        fitting = self.available & self.up_to[room]
        if not fitting:
            return -1
        length = fitting.bit_length() - 1
        if length != room:
            # Lengths l for which room - l is to be had as well. The larger of the most even
            # pair is taken now; its partner is then the exact fit.
            pairs = fitting & (self.mirrored >> (self.row_length - room)) & self.up_to[room // 2]
            if pairs:
                length = room - (pairs.bit_length() - 1)
        for _ in range(_TRIES):
            found = self._with_targets(length, target_room)
            if found >= 0:
                return found
            fitting &= self.up_to[length - 1]
            if not fitting:
                return -1
            length = fitting.bit_length() - 1
        return -1

    def _with_targets(self, length: int, target_room: int) -> int:
        """A free example of that length whose targets fit, out of the next few; -1 for none."""
        stack, used, targets = self.stacks[length], self.used, self.targets
        while stack and used[stack[-1]]:
            stack.pop()
        for depth in range(len(stack) - 1, max(-1, len(stack) - 1 - _TRIES), -1):
            place = stack[depth]
            if not used[place] and targets[place] <= target_room:
                return place
        return -1
