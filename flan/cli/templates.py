"""Check the templates for mistakes.

  flan templates check                     all datasets, on their demo rows
  flan templates check nli squad           clusters and datasets by name
  flan templates check --vocabulary DIR    and whether its tokens tell options apart
  flan templates rules                     what is checked

Exits with 1 if anything is found.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan.catalog import Dataset, Fields

DEMO_ROWS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("action", choices=("check", "rules"), help="what to do")
    parser.add_argument("names", nargs="*", help="datasets and clusters; all by default")
    parser.add_argument("--vocabulary", metavar="DIR", help="check options as its tokens")
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
    checked, findings = check_named(args.names or ("all", "extra"), _demo_fields, encode, root)
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


def _demo_fields(dataset: Dataset) -> list[Fields]:
    from flan.data.example_rows import demo_examples

    try:
        examples = demo_examples(dataset, DEMO_ROWS)
    except ValueError:  # a user's own dataset has none: the rules that need rows are left out
        return []
    return [e.fields for e in examples if e.fields is not None]
