"""Token caches to batches: tokens a second, and how full rows are, beside grain and seqio."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.caches import INPUTS, LENGTH, TARGETS, flan_data
from flan.data.loader import TrainData, prefetch
from flan.data.mixture import make_mixture
from flan.data.permutation import shuffled
from flan.data.pool import ExamplePool


def warm(caches: dict[str, Any], args: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Planned once, then read; the files are in the page cache for both."""
    data = flan_data(caches, args.batch_size, args.steps, plan_dir=scratch / "plans")
    started = time.perf_counter()
    filled = data.observe().density
    planning = time.perf_counter() - started
    read_all(data, data.num_steps // 4)
    tokens = args.steps * args.batch_size * LENGTH * filled
    started, cpu = time.perf_counter(), time.process_time()
    read_all(data, data.num_steps)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu

    rows = args.steps * args.batch_size // 10
    started = time.perf_counter()
    theirs = sum(
        int((segments > 0).sum())
        for segments in itertools.islice(grain_rows(examples(caches, 10**9)), rows)
    )
    theirs_wall = time.perf_counter() - started
    return {
        "tokens": round(tokens),
        "planning_s": round(planning, 2),
        "ours_tokens_per_s": round(tokens / wall),
        "ours_tokens_per_cpu_s": round(tokens / cpu),
        "grain_tokens_per_s": round(theirs / theirs_wall),
        "ratio": round(tokens / wall / (theirs / theirs_wall), 1),
    }


def read_all(data: TrainData, steps: int) -> None:
    for _ in itertools.islice(prefetch(data), steps):
        pass


def examples(caches: dict[str, Any], count: int) -> Iterator[tuple[np.ndarray, int]]:
    """Tokens and input length of the mixture's draws, in the order in which we pack them."""
    kept = {name: [cache.num_rows for cache in group] for name, group in caches.items()}
    mixture = make_mixture(kept)
    pool = ExamplePool(mixture, caches)
    for window in itertools.count():
        numbers = pool.numbers(mixture.window(window))
        numbers = numbers[shuffled(len(numbers), window)]
        tokens, inputs = pool.read(numbers[:count])
        yield from zip(tokens, map(int, inputs), strict=True)
        count -= len(tokens)
        if count <= 0:
            return


def density(caches: dict[str, Any], count: int = 60_000) -> dict[str, Any]:
    """Part of the rows that is not padding, for the same mixture."""
    from benchmarks.seqio_peer import pack_with_seqio

    data = flan_data(caches, batch_size=32, steps=250)
    rows = itertools.islice(grain_rows(examples(caches, count)), 8000)
    grain = np.mean([(segments > 0).mean() for segments in rows])
    seqio = pack_with_seqio(examples(caches, count), INPUTS, TARGETS)
    unlimited = flan_data(caches, batch_size=32, steps=250, max_targets=LENGTH)
    return {
        "ours": round(data.observe().density, 5),
        "max_targets": data.max_targets,
        "ours_without_target_limit": round(unlimited.observe().density, 5),
        "grain_best_fit": round(float(grain), 5),
        "seqio": round(seqio, 5),
    }


def grain_rows(items: Iterator[tuple[np.ndarray, int]]) -> Iterator[np.ndarray]:
    """Segment ids of grain's rows, which have the arrays of a `Batch` before the shift by one."""
    import grain
    from grain.experimental import BestFitPackIterDataset

    class Source(grain.IterDataset):
        def __iter__(self) -> Any:
            return Items()

    class Items(grain.DatasetIterator):
        def __init__(self) -> None:
            super().__init__()

        def __next__(self) -> dict[str, np.ndarray]:
            tokens, inputs = next(items)
            return {"targets": tokens, "weights": np.arange(len(tokens)) >= inputs}

        def get_state(self) -> dict[str, Any]:
            return {}

        def set_state(self, state: dict[str, Any]) -> None:
            raise NotImplementedError("the benchmark reads straight through")

    packed = BestFitPackIterDataset(
        Source(), length_struct={"targets": LENGTH, "weights": LENGTH}, num_packing_bins=64
    )
    for row in packed:
        yield row["targets_segment_ids"]
