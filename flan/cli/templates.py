"""Check the templates for mistakes.

  flan templates check                     all datasets, on their demo rows
  flan templates check nli squad           clusters and datasets by name
  flan templates check --data_dir DIR      on rows of a TFDS folder where it has them
  flan templates check --vocabulary DIR    and whether its tokens tell options apart
  flan templates rules                     what is checked

Exits with 1 if anything is found.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan.catalog import Dataset, Fields

DEMO_ROWS, DISK_ROWS = 20, 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("action", choices=("check", "rules"), help="what to do")
    parser.add_argument("names", nargs="*", help="datasets and clusters; all by default")
    parser.add_argument("--vocabulary", metavar="DIR", help="check options as its tokens")
    parser.add_argument("--data_dir", help="TFDS folder with rows to check on")
    parser.add_argument("--templates", metavar="DIR", help="check this folder, not the shipped one")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints findings as a table; 1 if there are any."""
    from flan.cli.tables import print_table
    from flan.templates.lint import RULES

    if args.action == "rules":
        print_table(("rule", "wants"), [(r.id, r.summary) for r in RULES.values()])
        return 0
    from flan.templates.lint.check import check_named

    encode = None
    if args.vocabulary:
        from flan.data.vocabulary import load_vocabulary

        encode = load_vocabulary(args.vocabulary).encode
    root = Path(args.templates) if args.templates else None
    folder = Path(args.data_dir).expanduser() if args.data_dir else None
    if folder and not folder.is_dir():
        raise FileNotFoundError(f"no data folder at {folder}")
    rows_of = functools.partial(_fields, folder)
    checked, findings = check_named(args.names or ("all", "extra"), rows_of, encode, root)
    if args.json:
        print(json.dumps([dataclasses.asdict(f) for f in findings], indent=2, ensure_ascii=False))
    elif findings:
        print_table(
            ("dataset", "template", "rule", "finding"),
            [(f.dataset, f.template, f.rule, f.message) for f in findings],
        )
    print(
        f"{len(findings)} findings in {sum(checked.values())} templates of {len(checked)} datasets",
        file=sys.stderr,
    )
    return 1 if findings else 0


def _fields(folder: Path | None, dataset: Dataset) -> list[Fields]:
    """Rows from the folder for the sources that it has, demo rows for the others."""
    from flan.data.doctor import diagnose_source
    from flan.data.example_rows import demo_examples, disk_examples

    rows = []
    for source in dataset.sources:
        if folder and diagnose_source(folder, dataset, source).state == "ready":
            split = "train" if source.train else "test"
            rows += disk_examples(folder, dataset, source, split, DISK_ROWS)
            continue
        # A user's own dataset has no demo rows: the rules that need rows are left out.
        with contextlib.suppress(ValueError):
            rows += demo_examples(dataset, DEMO_ROWS, source=source)
    return [row.fields for row in rows if row.fields is not None]
