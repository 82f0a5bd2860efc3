"""The data path beside its peers, over the same rows and the same vocabulary.

  python benchmarks/input_pipeline.py --data_dir TFDS_FOLDER [--vocabulary DIR] [--parts abcd]

(a) cold: rows to packed batches, against a seqio task with TensorFlow preprocessors and
    `seqio.PrefixLMFeatureConverter(pack=True)`: examples a second
(b) warm: token caches to batches, against grain's best-fit packer: tokens a second
(c) density of rows of 1280, against grain's and seqio's packing of the same examples
(d) plans of a full FLAN run (62 datasets of 30,000 rows, 30,000 steps of 8,192 tokens), and
    peak memory of plans of 1 and of 30 million examples (lengths made up)

Each side of (a) and (b) is measured in one process with its peer, one after the other, and
(a) `--repeat` times, each in a fresh process: the medians count. Without `--vocabulary` one
of 32,000 pieces is trained on the rows first (minutes).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

# The parts are imported where they are run: worker processes import this file again.


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
    parser.add_argument("--repeat", type=int, default=1, help="times that (a) is measured")
    parser.add_argument("--batch_size", type=int, default=32, help="rows of a batch")
    args = parser.parse_args()
    if args.data_dir is None and set(args.parts) != {"d"}:
        parser.error("--data_dir is needed for parts a, b and c")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.data_dir:
            from benchmarks.caches import open_caches, train_vocabulary

            args.cache_dir = args.cache_dir or scratch / "cache"
            args.vocabulary = args.vocabulary or train_vocabulary(args, scratch / "vocabulary")
        if "a" in args.parts:
            from benchmarks.cold_path import cold

            results["a"] = cold(args, scratch)
        if {"b", "c"} & set(args.parts):
            from benchmarks.warm_path import density, warm

            caches = open_caches(args)
            if "b" in args.parts:
                results["b"] = warm(caches, args, scratch)
            if "c" in args.parts:
                results["c"] = density(caches)
        if "d" in args.parts:
            from benchmarks.plans import plans

            results["d"] = plans(scratch)
    print(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
