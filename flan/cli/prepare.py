"""Reads, renders and tokenizes datasets into caches.

  flan prepare --datasets rte,sentiment --data_dir ~/tensorflow_datasets --vocabulary VOCAB
  flan prepare --datasets flan_loo_nli --vocabulary VOCAB --epochs 10 --rate 3000
  flan prepare --datasets nli --splits dev,test            rows only, for evaluation
  flan prepare --datasets all --vocabulary VOCAB --beam="--runner=FlinkRunner --flink_master=HOST"

`flan train` and `flan eval` do this by themselves for what they lack. Running it again
does what is left to do; a changed template is prepared anew and nothing else.
"""

from __future__ import annotations

import argparse
import functools
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan.data.cache_plan import Request
    from flan.data.prepare import Prepared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    add = parser.add_argument
    add(
        "--datasets",
        required=True,
        metavar="NAMES",
        help="datasets, clusters or mixtures (flan_loo_nli), separated by commas; all for the 62",
    )
    add(
        "--data_dir",
        metavar="DIR",
        help="TFDS folder (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)",
    )
    add(
        "--cache_dir",
        metavar="DIR",
        help="folder for caches (default: $FLAN_CACHE_DIR or ~/.cache/flan)",
    )
    add(
        "--vocabulary",
        metavar="DIR",
        help="tokenizes the training rows with it; without one only rows are cached",
    )
    add("--splits", default="train,dev,test", help="of train, dev and test (default: all)")
    add("--rendering", help="instructions (default), no_template, dataset_name, no_options, 5shot")
    add("--template", metavar="ID", help="only this template, such as t3, of a single dataset")
    add("--num_templates", type=int, metavar="N", help="the first N templates of each (all)")
    add("--input_length", type=int, default=1024, help="tokens at most, EOS included (1024)")
    add("--target_length", type=int, default=256, help="tokens at most, EOS included (256)")
    add("--epochs", type=int, default=1, help="times that each row is rendered anew (default: 1)")
    add(
        "--rate",
        type=int,
        metavar="N",
        help="render datasets of more than N rows less often in proportion, as a mixture with "
        "that rate limit draws them (default: all alike)",
    )
    add("--seed", type=int, default=0, help="of the choice of templates (default: 0)")
    add("--cap", type=int, default=30_000, help="training rows of a source at most (30000)")
    add("--skip_missing", action="store_true", help="leave out what the data folder lacks")
    add("--workers", type=int, help="processes (default: one a CPU, fewer for little work)")
    add(
        "--beam",
        nargs="?",
        const="",
        metavar="OPTIONS",
        help="do the same as an Apache Beam pipeline (pip install 'flan-jax[beam]'): in this "
        "process, or where Beam's options say, in one word as above; all machines must mount the "
        "three folders at the same place and have this version of flan",
    )
    add("--result", metavar="FILE", help="write what was prepared, or the error, there as JSON")


def run(args: argparse.Namespace) -> int:
    """Prepares and prints a line for each dataset."""
    if args.result is None:
        print_summary(_prepare_with(args)(request_of(args)))
        return 0
    from flan.data import atomic

    answer: dict[str, object] = {}
    try:
        prepared = _prepare_with(args)(request_of(args))
        answer["caches"] = [str(p) for p in (*prepared.rows.values(), *prepared.tokens.values())]
        answer["missing"] = {"/".join(k): v for k, v in prepared.missing.items()}
    except (ValueError, OSError) as error:
        answer["error"] = str(error)
    atomic.write_json(Path(args.result), answer)
    return 2 if "error" in answer else 0


def _prepare_with(args: argparse.Namespace) -> Callable[[Request], Prepared]:
    """What does the work: worker processes, or Beam."""
    if args.beam is None:
        from flan.data.prepare import prepare

        return functools.partial(prepare, workers=args.workers)
    if args.workers is not None:
        raise ValueError(
            "--workers are processes of `flan prepare` itself; with --beam its options say how many, "
            'for instance --beam="--direct_num_workers=4 --direct_running_mode=multi_processing"'
        )
    try:
        from flan.data.beam import prepare_with_beam
    except ImportError as error:
        raise ValueError(str(error)) from error
    return functools.partial(prepare_with_beam, flags=shlex.split(args.beam))


def request_of(args: argparse.Namespace) -> Request:
    """The flags as a request; ValueError for unknown names and numbers that make no sense."""
    from flan import folders
    from flan.data.cache_plan import Request
    from flan.data.names import parse_task_name

    task = parse_task_name(args.datasets)
    return Request(
        datasets=task.datasets,
        cache_dir=folders.cache_dir(args.cache_dir),
        data_dir=folders.data_dir(args.data_dir),
        splits=tuple(s.strip() for s in args.splits.split(",") if s.strip()),
        vocabulary=folders.local(args.vocabulary) if args.vocabulary else None,
        rendering=args.rendering or task.rendering.name,
        template=args.template or task.template,
        num_templates=args.num_templates,
        input_length=args.input_length,
        target_length=args.target_length,
        epochs=args.epochs,
        rate=args.rate,
        seed=args.seed,
        cap=args.cap,
        skip_missing=args.skip_missing,
    )


def print_summary(prepared: Prepared) -> None:
    """Prints what each dataset has: rows of each split, examples, tokens, what was dropped or cut."""
    from flan.cli.tables import print_table
    from flan.data.row_cache import KIND, read_manifest

    counts: dict[str, dict[str, int]] = {}
    for (dataset, _, split), path in prepared.rows.items():
        line = counts.setdefault(dataset, {})
        manifest = read_manifest(path, KIND)
        line[split] = line.get(split, 0) + manifest["kept"]
        line["dropped"] = line.get("dropped", 0) + manifest["dropped"]
    for dataset, caches in prepared.open_tokens().items():
        for cache in caches:
            line = counts[dataset]
            line["examples"] = line.get("examples", 0) + len(cache)
            line["tokens"] = line.get("tokens", 0) + len(cache.tokens)
            line["cut"] = line.get("cut", 0) + cache.num_cut
    columns = ["train", "dev", "test", "dropped"]
    columns += ["examples", "tokens", "cut"] if prepared.tokens else []
    rows = [
        [dataset, *(f"{line.get(c, 0):,}" for c in columns)] for dataset, line in counts.items()
    ]
    print_table(["dataset", *columns], rows, right=columns)
    for (dataset, source), reason in prepared.missing.items():
        print(f"left out {dataset} ({source}): {json.dumps(reason, ensure_ascii=False)[1:-1]}")
