"""Turn evaluation results into a table, an HTML page and a CSV file.

  flan report results                               all checkpoints of a results folder
  flan report results_a results_b --out report      those of two folders, side by side
  flan report results --held_out nli --model_dir runs/no_nli
  flan report loo                                   an experiment that `flan launch` made

The first column is what the others are compared with: the checkpoint called `base` if
there is one, else the first in `--checkpoints`, else the one of the fewest steps. An
experiment's report goes into its folder and lines up its runs by what sets them apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan.reports.comparison import Comparison


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
    from flan.reports.experiment import is_experiment
    from flan.reports.table import table_columns, table_rows, training_notes
    from flan.reports.write import read_run, write_report

    folders = [Path(folder).expanduser() for folder in args.results]
    if any(map(is_experiment, folders)):
        comparison, model_dirs, args.out = _experiment(args, folders)
    else:
        comparison = compare(
            folders,
            checkpoints=args.checkpoints,
            split=args.split,
            held_out=args.held_out,
        )
        model_dirs = [Path(folder).expanduser() for folder in args.model_dir]
    runs = [read_run(folder) for folder in model_dirs]
    columns = table_columns(comparison)
    print_table(columns, table_rows(comparison), right=columns[2:])
    for note in training_notes(comparison):
        print(note)
    if args.out:
        for path in write_report(Path(args.out).expanduser(), comparison, runs, args.title):
            print(f"wrote {path}")
    return 0


def _experiment(
    args: argparse.Namespace, folders: list[Path]
) -> tuple[Comparison, list[Path], str]:
    """Comparison, model folders and output folder of an experiment."""
    from flan.experiments.graph import REPORT
    from flan.experiments.state import read_record
    from flan.reports.experiment import compare_runs, model_dirs

    if len(folders) > 1 or args.checkpoints or args.held_out or args.model_dir:
        raise ValueError(
            f"{folders[0]} is an experiment, which says itself what belongs in its report: give it "
            "alone, without --checkpoints, --held_out and --model_dir"
        )
    (folder,) = folders
    found = model_dirs(folder, read_record(folder))
    return compare_runs(folder, args.split), found, args.out or str(folder / REPORT)
