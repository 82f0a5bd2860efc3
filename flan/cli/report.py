"""Turn evaluation results into a table, an HTML page and a CSV file.

  flan report results                               all checkpoints of a results folder
  flan report results_a results_b --out report      those of two folders, side by side
  flan report results --held_out nli --model_dir runs/no_nli

The first column is what the others are compared with: the checkpoint called `base` if
there is one, else the first in `--checkpoints`, else the one of the fewest steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("results", nargs="+", help="folders that `flan eval --out` has written")
    parser.add_argument("--out", help="folder for report.html and report.csv")
    parser.add_argument("--checkpoints", nargs="+", default=(), help="labels to show, in order")
    parser.add_argument("--split", default="test", help="test (default) or dev")
    parser.add_argument(
        "--held_out", nargs="+", default=(), help="clusters to mark as unseen in training"
    )
    parser.add_argument(
        "--model_dir", nargs="+", default=(), help="model folders whose training to show"
    )
    parser.add_argument("--title", default="FLAN evaluation", help="heading of the page")


def run(args: argparse.Namespace) -> int:
    """Prints the table; writes the files if `--out` is given."""
    from flan.cli.tables import print_table
    from flan.reports.comparison import compare
    from flan.reports.table import table_columns, table_rows
    from flan.reports.write import read_run, write_report

    comparison = compare(
        [Path(folder).expanduser() for folder in args.results],
        checkpoints=args.checkpoints,
        split=args.split,
        held_out=args.held_out,
    )
    runs = [read_run(Path(folder).expanduser()) for folder in args.model_dir]
    columns = table_columns(comparison)
    print_table(columns, table_rows(comparison), right=columns[2:])
    if args.out:
        for path in write_report(Path(args.out).expanduser(), comparison, runs, args.title):
            print(f"wrote {path}")
    return 0
