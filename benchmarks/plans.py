"""Time and memory of planning a run, without its tokens."""

from __future__ import annotations

import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.caches import INPUTS, LENGTH, TARGETS
from flan.data.mixture import make_mixture
from flan.data.pool import ExamplePool


def plans(scratch: Path) -> dict[str, Any]:
    """Time and memory of planning alone, each in a process of its own."""
    full = in_process(plan_run, 62, 30_000, 192_000, scratch / "full")
    one = in_process(plan_run, 62, 30_000, 1_000_000 // 7, scratch / "one")
    thirty = in_process(plan_run, 62, 30_000, 30_000_000 // 7, scratch / "thirty")
    return {
        "full_run": full,
        "about_1M_examples": one,
        "about_30M_examples": thirty,
        "memory_ratio": round(thirty["peak_mib"] / one["peak_mib"], 3),
    }


def in_process(function: Any, *arguments: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def plan_run(datasets: int, rows: int, wanted: int, folder: Path) -> dict[str, Any]:
    """Plans `wanted` rows of 1280 over datasets with FLAN-like lengths, 182 tokens in the mean."""
    from flan.data.packing import PackingPlan
    from flan.testing.examples import ArrayExamples, ArrayShard

    rng = np.random.default_rng(0)
    caches = {}
    for place, median in enumerate(np.exp(rng.uniform(np.log(35), np.log(400), datasets))):
        targets = np.array([15, 4, 4, 30, 50])[place % 5] * np.exp(rng.normal(0, 0.7, rows))
        targets = np.clip(targets, 2, TARGETS).astype(np.int64)
        inputs = np.clip(median * np.exp(rng.normal(0, 0.45, rows)), 8, INPUTS).astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(inputs + targets)])
        # Planning reads no token: one zero stands for all of them.
        tokens = np.broadcast_to(np.zeros(1, np.int32), offsets[-1])
        caches[str(place)] = [
            ArrayExamples(str(place), rows, [ArrayShard(tokens, offsets, inputs)], rows)
        ]
    mixture = make_mixture({name: [rows] for name in caches})
    pool = ExamplePool(mixture, caches)
    started = time.perf_counter()
    plan = PackingPlan(mixture, pool, row_length=LENGTH, folder=folder)
    plan.rows(0, 1)
    first = time.perf_counter() - started
    cpu = time.process_time()
    examples_planned = tokens_planned = 0
    for start in range(0, wanted, 50_000):
        part = plan.rows(start, min(wanted, start + 50_000))
        examples_planned += len(part.examples)
        tokens_planned += int(pool.lengths(part.examples)[0].sum())
    return {
        "examples": examples_planned,
        "mean_tokens": round(tokens_planned / examples_planned, 1),
        "density": round(tokens_planned / wanted / LENGTH, 5),
        "seconds_to_first_row": round(first, 2),
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu + first, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
