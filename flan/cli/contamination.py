"""Says how much of the evaluation sets stands in a corpus, and scores models without it.

  flan contamination --datasets nli --corpus web.jsonl.gz books/ --out overlap
  flan contamination --datasets nli --train flan_loo_nli --out overlap
  flan contamination --datasets nli --corpus web/ --results results --out overlap

An example is dirty when one of its 13-grams of words is in the corpus, and a near-duplicate
when most are. With --results (a folder of `flan eval`) scores on clean, dirty and all rows
stand side by side. Corpora are .txt and .jsonl files, gzipped or not, read in a stream; a run
that was stopped goes on after the files that it had finished.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    add = parser.add_argument
    add("--datasets", required=True, metavar="NAMES", help="datasets and clusters, by commas")
    add("--corpus", nargs="+", default=[], metavar="PATH", help="files, and folders of files")
    add("--field", default="text", help="of JSON lines, where the text is (default: text)")
    add("--train", metavar="NAMES", help="datasets or mixtures whose training rows to look in")
    add("--out", required=True, metavar="DIR", help="folder for what is found")
    add("--results", metavar="DIR", help="results of flan eval to split into clean and dirty")
    add("--splits", default="test", help="dev, test or both (default: test)")
    add("--n", type=int, default=13, help="words of a gram (default: 13)")
    add("--data_dir", metavar="DIR", help="TFDS folder")
    add("--cache_dir", metavar="DIR", help="folder for caches")
    add("--skip_missing", action="store_true", help="leave out datasets that are not there")


def run(args: argparse.Namespace) -> int:
    """Measures and prints a table."""
    from flan import folders
    from flan.data.names import parse_task_name
    from flan.experiments.contamination import corpus, measure
    from flan.experiments.contamination.index import Index

    if not args.corpus and not args.train:
        raise ValueError("nothing to look in: give --corpus files, or --train datasets")
    files = corpus.find_files(args.corpus)
    trained = parse_task_name(args.train).datasets if args.train else ()
    store = measure.RowFolders(
        folders.cache_dir(args.cache_dir), folders.data_dir(args.data_dir), args.skip_missing
    )
    splits = [s.strip() for s in args.splits.split(",") if s.strip()]
    rows = store.open([n.strip() for n in args.datasets.split(",") if n.strip()], splits)
    index = Index(measure.evaluation_examples(rows), args.n)
    if not index.examples:
        raise ValueError(f"{args.datasets} have no {args.splits} rows to look for")
    out = Path(args.out).expanduser()
    if files:
        measure.look_in_files(index, files, args.field, out / measure.PROGRESS_FILE)
    if trained:
        measure.look_in_rows(index, store.open(trained, ["train"]))
    overlap = index.overlap()
    scores = None
    if args.results:
        scores = measure.subset_scores(Path(args.results).expanduser(), index, overlap)
    against = [*map(str, files), *(f"train:{name}" for name in trained)]
    content = measure.write(out, index, overlap, against, scores)
    _print(content)
    if scores:
        from flan.reports.contamination import write_plot

        print(f"wrote {write_plot(out, content)}")
    print(f"wrote {out / measure.OVERLAP_FILE} and {out / measure.EXAMPLES_FILE}")
    return 0


def _print(content: dict[str, Any]) -> None:
    from flan.cli.tables import print_table

    overlaps = ("dataset", "examples", "dirty", "clean %", "near-duplicates", "too short")
    counted = []
    for name, line in content["datasets"].items():
        clean = f"{100 * (1 - line['dirty'] / line['examples']):.1f}"
        before = (f"{line['examples']:,}", f"{line['dirty']:,}", clean)
        after = (f"{line['near_duplicates']:,}", f"{line['too_short']:,}")
        counted.append((name, *before, *after))
    print_table(overlaps, counted, right=overlaps[1:])
    columns = ("checkpoint", "dataset", "all", "clean", "dirty", "clean rows", "dirty rows")
    scored = [
        (
            label,
            name,
            *(f"{line[k]:.1f}" if k in line else "" for k in ("all", "clean", "dirty")),
            f"{line['clean_rows']:,}",
            f"{line['dirty_rows']:,}",
        )
        for label, datasets in content["scores"].items()
        for name, line in datasets.items()
    ]
    if scored:
        print_table(columns, scored, right=columns[2:])
