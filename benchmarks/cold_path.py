"""Rows to packed batches, ours and a stock seqio task's."""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.caches import INPUTS, LENGTH, TARGETS, flan_data, request

# Their fields are columns of the rows and their options fixed, so that the TensorFlow twin
# in `benchmarks/seqio_peer.py` makes the same text without code of its own for each.
COLD = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "snli", "wic", "wnli")


def cold(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Both sides one after the other, `args.repeat` times, each time in a fresh process."""
    context = multiprocessing.get_context("spawn")
    measured = []
    for number in range(args.repeat):
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
            measured.append(process.submit(both, args, scratch / f"cold{number}").result())
    (examples,) = {count for sides in measured for count, _ in sides}
    ours, theirs = ([sides[i][1] for sides in measured] for i in range(2))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "examples": examples,
        "ours_examples_per_s": round(examples / statistics.median(ours)),
        "seqio_examples_per_s": round(examples / statistics.median(theirs)),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def both(args: argparse.Namespace, folder: Path) -> list[tuple[int, float]]:
    """Examples and seconds of each side; imports do not count, our worker processes' do."""
    from benchmarks import seqio_peer  # noqa: F401
    from flan.data import loader, prepare  # noqa: F401

    measured = []
    for side in (ours, theirs):
        started = time.perf_counter()
        examples = side(args, folder)
        measured.append((examples, time.perf_counter() - started))
    return measured


def ours(args: argparse.Namespace, folder: Path) -> int:
    """Every train row of some datasets, once an epoch: read, phrased, tokenized, packed."""
    from flan.data.loader import prefetch
    from flan.data.prepare import prepare

    options = {"vocabulary": args.vocabulary, "epochs": args.epochs}
    caches = prepare(request(args, COLD, cache_dir=folder, **options)).open_tokens()
    tokens = sum(len(cache.tokens) for group in caches.values() for cache in group)
    rows = -(-tokens // LENGTH)
    for batch in prefetch(flan_data(caches, batch_size=32, steps=-(-rows // 32))):
        assert batch.targets.shape[1] == LENGTH
    return sum(len(cache) for group in caches.values() for cache in group)


def theirs(args: argparse.Namespace, folder: Path) -> int:
    """The same rows by seqio; returns how many examples its batches hold."""
    from benchmarks.seqio_peer import packed_batches

    lengths = {"inputs": INPUTS, "targets": TARGETS}
    batches = packed_batches(COLD, args.data_dir, args.vocabulary, lengths, args.epochs)
    return sum(int(segments.max(axis=1).sum()) for segments in batches)
