"""Turns evaluation results into a table, an HTML page, Markdown, CSV and figures.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flan.reports.comparison import Column, Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("results", nargs="+", help="folders that `flan eval --out` has written")
    parser.add_argument("--out", help="folder for report.html, .md, .csv and figures")
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
    from flan.reports.comparison import compare, titles_of
    from flan.reports.experiment import is_experiment
    from flan.reports.predictions import collect, without_work
    from flan.reports.table import table_columns, table_rows, training_notes
    from flan.reports.write import read_run, write_report

    folders = [Path(folder).expanduser() for folder in args.results]
    if any(map(is_experiment, folders)):
        found = _experiment(args, folders)
    else:
        comparison = compare(
            folders,
            checkpoints=args.checkpoints,
            split=args.split,
            held_out=args.held_out,
        )
        dirs = [Path(folder).expanduser() for folder in args.model_dir]
        found = _Found(comparison, dirs, args.out, {}, titles_of(folders, comparison))
    runs = [read_run(folder) for folder in found.model_dirs]
    columns = table_columns(found.comparison)
    print_table(columns, table_rows(found.comparison), right=columns[2:])
    for note in training_notes(found.comparison):
        print(note)
    if found.out:
        predictions = without_work(collect(found.sources, args.split))
        for path in write_report(
            Path(found.out).expanduser(),
            found.comparison,
            runs,
            args.title,
            found.tags,
            predictions if predictions["sets"] else None,
        ):
            print(f"wrote {path}")
    return 0


class _Found(NamedTuple):
    """What is reported.

    Attributes:
      comparison: the scores.
      model_dirs: folders of the training runs to show.
      out: where the report goes, or None.
      tags: column -> what sets an experiment's runs apart.
      sources: folders with predictions, each with (checkpoint, mode) there -> its column.
    """

    comparison: Comparison
    model_dirs: list[Path]
    out: str | None
    tags: Mapping[Column, Mapping[str, str | int]]
    sources: Sequence[tuple[Path, Mapping[tuple[str, str], Column]]]


def _experiment(args: argparse.Namespace, folders: list[Path]) -> _Found:
    """What there is to report of an experiment."""
    from flan.experiments.graph import REPORT, RESULTS
    from flan.experiments.state import read_record
    from flan.reports.experiment import (
        compare_runs,
        current_record,
        model_dirs,
        outdated_runs,
        tags_of,
        titles_of,
    )

    if len(folders) > 1 or args.checkpoints or args.held_out or args.model_dir:
        raise ValueError(
            f"{folders[0]} is an experiment, which says itself what belongs in its report: give it "
            "alone, without --checkpoints, --held_out and --model_dir"
        )
    (folder,) = folders
    if outdated := outdated_runs(folder, read_record(folder)):
        print(
            f"left out, for their scores were made with other settings: {', '.join(outdated)}. "
            "`flan launch` makes them anew"
        )
    record = current_record(folder)
    comparison = compare_runs(folder, args.split)
    return _Found(
        comparison,
        model_dirs(folder, record),
        args.out or str(folder / REPORT),
        tags_of(record, comparison),
        [(folder / RESULTS, titles_of(record, comparison))],
    )
