"""List the datasets: clusters, TFDS names, rows, templates, metrics, and what is on disk.

  flan datasets                            the 62 and the two extras
  flan datasets nli squad --data_dir DIR   some of them, with the rows found in a folder
  flan datasets --json                     the same as JSON, with train, dev and test slices

Official row counts are those that the datasets' publishers state.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from flan import folders

# Official sizes may say what a split would have; these are listed first.
_ORDER = ("train", "validation", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("names", nargs="*", help="datasets and clusters; all by default")
    parser.add_argument(
        "--data_dir", help="TFDS folder (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints a table, a line for each source."""
    from flan.cli.tables import print_table
    from flan.data.listing import list_datasets

    folder = folders.data_dir(args.data_dir) or folders.usual_data_dir()
    if args.data_dir and not folder.is_dir():
        raise FileNotFoundError(f"no data folder at {folder}")
    entries = list_datasets(args.names or ("all", "extra"), folder)
    if args.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return 0
    rows = []
    for entry in entries:
        for place, source in enumerate(entry["sources"]):
            first = place == 0
            rows.append(
                (
                    entry["cluster"] if first else "",
                    entry["dataset"] if first else "",
                    source["tfds"],
                    _counts(source["official_rows"]),
                    _counts(source["rows"]) if source["on_disk"] else "not found",
                    str(entry["templates"]) if first else "",
                    entry["metrics"][0] if first else "",
                )
            )
    columns = ("cluster", "dataset", "TFDS name", "official rows", "on disk", "templates", "metric")
    print_table(columns, rows, right=("templates",))
    sources = [source for entry in entries for source in entry["sources"]]
    found = sum(source["on_disk"] for source in sources)
    print(f"{len(entries)} datasets; {found} of {len(sources)} sources found in {folder}")
    return 0


def _counts(sizes: Mapping[str, int]) -> str:
    names = sorted(sizes, key=lambda s: (_ORDER.index(s) if s in _ORDER else len(_ORDER), s))
    return ", ".join(f"{name} {sizes[name]:,}" for name in names)
