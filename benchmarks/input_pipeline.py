"""The data path beside its peers, in one process, over the same rows and the same vocabulary.

  python benchmarks/input_pipeline.py --data_dir TFDS_FOLDER [--vocabulary DIR] [--parts abcd]

(a) cold: rows to packed batches, against a seqio task with TensorFlow preprocessors and
    `seqio.PrefixLMFeatureConverter(pack=True)`: examples a second
(b) warm: token caches to batches, against grain's best-fit packer: tokens a second
(c) density of rows of 1280, against grain's and seqio's packing of the same examples
(d) plans of a full FLAN run (62 datasets of 30,000 rows, 30,000 steps of 8,192 tokens), and
    peak memory of plans of 1 and of 30 million examples (lengths made up)

Without `--vocabulary` one of 32,000 pieces is trained on the rows first (minutes).
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flan.data.cache import TaskCache
from flan.data.cache_plan import Request
from flan.data.loader import TrainData, open_train_data, prefetch
from flan.data.mixture import make_mixture
from flan.data.permutation import shuffled
from flan.data.pool import ExamplePool
from flan.data.prepare import prepare
from flan.data.vocabulary import train_sentencepiece

LENGTH, INPUTS, TARGETS = 1280, 1024, 256
# Their fields are columns of the rows and their options fixed, so that the TensorFlow twin
# in `benchmarks/seqio_peer.py` makes the same text without code of its own for each.
COLD = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "snli", "wic", "wnli")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=Path, help="TFDS folder; (d) needs none")
    parser.add_argument(
        "--cache_dir", type=Path, help="token caches; a temporary folder by default"
    )
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--parts", default="abcd")
    parser.add_argument("--steps", type=int, default=2000, help="batches read in (b)")
    parser.add_argument("--epochs", type=int, default=1, help="times that (a) reads the rows")
    parser.add_argument("--batch_size", type=int, default=32, help="rows of a batch")
    args = parser.parse_args()
    if args.data_dir is None and set(args.parts) != {"d"}:
        parser.error("--data_dir is needed for parts a, b and c")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.data_dir:
            args.cache_dir = args.cache_dir or scratch / "cache"
            args.vocabulary = args.vocabulary or train_vocabulary(args, scratch / "vocabulary")
        if "a" in args.parts:
            results["a"] = cold(args, scratch)
        if "b" in args.parts or "c" in args.parts:
            caches = open_caches(args)
        if "b" in args.parts:
            results["b"] = warm(caches, args, scratch)
        if "c" in args.parts:
            results["c"] = density(caches)
        if "d" in args.parts:
            results["d"] = plans(scratch)
    print(json.dumps(results, indent=2))
    return 0


def request(args: argparse.Namespace, datasets: tuple[str, ...], **options: Any) -> Request:
    return Request(
        datasets=datasets,
        cache_dir=options.pop("cache_dir", args.cache_dir),
        data_dir=args.data_dir,
        splits=("train",),
        skip_missing=True,
        **options,
    )


def train_vocabulary(args: argparse.Namespace, out: Path) -> Path:
    prepared = prepare(request(args, ("all",)))
    rows = itertools.chain.from_iterable(
        prepared.open_rows(dataset, "train")[source] for dataset, source, _ in prepared.rows
    )
    train_sentencepiece(
        (text for fields in rows for text in (*fields.values.values(), fields.answer)), out
    )
    return out


def open_caches(args: argparse.Namespace) -> dict[str, list[TaskCache]]:
    prepared = prepare(request(args, ("all",), vocabulary=args.vocabulary))
    return prepared.open_tokens()


def cold(args: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Every train row of some datasets, once an epoch: read, phrased, tokenized, packed."""
    from benchmarks.seqio_peer import packed_batches

    started = time.perf_counter()
    options = {"vocabulary": args.vocabulary, "epochs": args.epochs}
    prepared = prepare(request(args, COLD, cache_dir=scratch / "cold", **options))
    caches = prepared.open_tokens()
    count = sum(len(cache) for group in caches.values() for cache in group)
    tokens = sum(len(cache.tokens) for group in caches.values() for cache in group)
    rows = -(-tokens // LENGTH)
    data = flan_data(caches, batch_size=32, steps=-(-rows // 32))
    for batch in prefetch(data):
        assert batch.targets.shape[1] == LENGTH
    ours = time.perf_counter() - started

    started = time.perf_counter()
    theirs_count = 0
    lengths = {"inputs": INPUTS, "targets": TARGETS}
    for segments in packed_batches(COLD, args.data_dir, args.vocabulary, lengths, args.epochs):
        theirs_count += int(segments.max(axis=1).sum())
    theirs = time.perf_counter() - started
    return {
        "examples": count,
        "ours_examples_per_s": round(count / ours),
        "seqio_examples": theirs_count,
        "seqio_examples_per_s": round(theirs_count / theirs),
        "ratio": round(count / ours / (theirs_count / theirs), 2),
    }


def flan_data(caches: dict[str, Any], batch_size: int, steps: int, **options: Any) -> TrainData:
    return open_train_data(
        list(caches), caches, batch_size=batch_size, length=LENGTH, steps=steps, **options
    )


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


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
