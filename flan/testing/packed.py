"""What packed batches hold, example by example."""

from __future__ import annotations

from flan.data.batch import Batch


def examples_of(batch: Batch) -> list[tuple[tuple[int, ...], int]]:
    """Each packed example's ids, row by row, and how many of them have no loss."""
    found = []
    for row in range(len(batch.targets)):
        for segment in range(1, batch.segment_ids[row].max() + 1):
            here = batch.segment_ids[row] == segment
            ids = tuple(batch.targets[row][here].tolist())
            found.append((ids, int((batch.loss_weights[row][here] == 0).sum())))
    return found
