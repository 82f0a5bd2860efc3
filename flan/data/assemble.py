"""Lays token arrays out as the arrays of a `Batch`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flan.data.batch import Batch


def assemble(
    examples: Sequence[np.ndarray],
    input_lengths: Sequence[int],
    counts: np.ndarray,
    length: int,
    bos_id: int = 0,
) -> Batch:
    """Rows of examples as a `Batch`; padding only at the end of rows.

    Args:
      examples: int32 token arrays, each inputs + EOS + targets + EOS, row by row.
      input_lengths: tokens of each one's inputs with their EOS; these have no loss.
      counts: int64 `[rows]`, examples of each row.
      length: tokens of a row.
      bos_id: what the model reads at an example's first place.

    Raises:
      ValueError: a row's examples are longer than `length`.
    """
    rows = len(counts)
    sizes = np.fromiter(map(len, examples), np.int64, len(examples))
    ends = np.cumsum(counts)
    token_ends = np.concatenate([[0], np.cumsum(sizes)])
    padding = length - (token_ends[ends] - token_ends[ends - counts])
    if rows and padding.min() < 0:
        raise ValueError(f"a row has {length - padding.min()} tokens, {length} is the limit")

    # Every row ends in one more piece, its padding, which may be empty.
    is_padding = np.zeros(len(examples) + rows, bool)
    is_padding[ends + np.arange(rows)] = True
    real = ~is_padding
    piece_sizes = np.empty(len(is_padding), np.int64)
    piece_sizes[real], piece_sizes[is_padding] = sizes, padding
    starts = np.cumsum(piece_sizes) - piece_sizes

    targets = np.empty(rows * length, np.int32)
    pieces: list[np.ndarray] = []
    zeros = np.zeros(length, np.int32)
    first = 0
    for end, pad in zip(ends.tolist(), padding.tolist(), strict=True):
        pieces.extend(examples[first:end])
        if pad:
            pieces.append(zeros[:pad])
        first = end
    if pieces:
        np.concatenate(pieces, out=targets)

    segments = np.arange(1, len(is_padding) + 1, dtype=np.int32)
    segments -= np.repeat((ends - counts + np.arange(rows)).astype(np.int32), counts + 1)
    segments[is_padding] = 0
    positions = np.arange(rows * length, dtype=np.int32)
    positions -= np.repeat(starts.astype(np.int32), piece_sizes)
    tokens = np.empty_like(targets)
    tokens[1:] = targets[:-1]
    tokens[starts[real]] = bos_id
    for start, pad in zip(starts[is_padding].tolist(), padding.tolist(), strict=True):
        if pad:
            positions[start : start + pad] = 0
            tokens[start] = 0

    # Alternate runs without and with loss: an example's inputs, its targets; padding, nothing.
    runs = np.zeros((len(is_padding), 2), np.int64)
    runs[:, 0] = piece_sizes
    runs[real, 0] = input_lengths
    runs[real, 1] = sizes - runs[real, 0]
    weights = np.repeat(np.tile(np.array([0, 1], np.float32), len(runs)), runs.ravel())
    return Batch(
        *(
            array.reshape(rows, length)
            for array in (tokens, targets, positions, np.repeat(segments, piece_sizes), weights)
        )
    )
