"""Say which datasets of a data folder can be used, and how to get the others.

  flan doctor --data_dir DIR                           every source of every dataset
  flan doctor --data_dir DIR --mixture flan_loo_nli    can this mixture be built?

States: ready; missing; manual download (TFDS cannot fetch it); wrong version; schema
differs (other columns or labels than expected); incomplete (files lack or are not as TFDS
writes them); other format (no TFRecord files); too small (no rows left for train, dev or
test). Exits with 1 if a named mixture cannot be built.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flan import folders

if TYPE_CHECKING:
    from flan.data.doctor import Diagnosis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("names", nargs="*", help="datasets and clusters to look at; all by default")
    parser.add_argument(
        "--data_dir", help="TFDS folder (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)"
    )
    parser.add_argument(
        "--mixture",
        action="append",
        default=[],
        metavar="NAME",
        help="flan_all, flan_loo_<cluster>, a cluster or a dataset; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the states, the remedies and what blocks the mixtures; 1 if any is blocked."""
    from flan.data.doctor import blocking, diagnose
    from flan.data.names import parse_task_name

    folder = folders.data_dir(args.data_dir) or folders.usual_data_dir()
    in_mixtures = [name for mixture in args.mixture for name in parse_task_name(mixture).datasets]
    names = [*args.names, *in_mixtures] or ["all", "extra"]
    diagnoses = diagnose(folder, names)
    blocked = {mixture: blocking(mixture, diagnoses) for mixture in args.mixture}
    if args.json:
        report = {
            "data_dir": str(folder),
            "sources": [dataclasses.asdict(d) for d in diagnoses],
            "mixtures": {
                mixture: {
                    "can_be_built": not found,
                    "blocked_by": sorted({d.dataset for d in found}),
                }
                for mixture, found in blocked.items()
            },
        }
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(diagnoses, blocked)
    return 1 if any(blocked.values()) else 0


def _print(diagnoses: Sequence[Diagnosis], blocked: Mapping[str, Sequence[Diagnosis]]) -> None:
    from flan.cli.tables import console, print_table

    print_table(
        ("dataset", "TFDS name", "state", "found"),
        [(d.dataset, d.tfds_name, d.state, d.detail or _counts(d.sizes)) for d in diagnoses],
    )
    out = console()
    remedies = dict.fromkeys(d.remedy for d in diagnoses if d.remedy)
    if remedies:
        out.print("\nTo get what is not ready:", markup=False)
        for remedy in remedies:
            out.print(f"  {remedy}", markup=False)
    counts = Counter(d.state for d in diagnoses)
    out.print("\n" + ", ".join(f"{count} {state}" for state, count in counts.items()), markup=False)
    for mixture, found in blocked.items():
        names = sorted({d.dataset for d in found})
        if names:
            out.print(f"{mixture} cannot be built: {', '.join(names)}", markup=False)
        else:
            out.print(f"{mixture} can be built", markup=False)


def _counts(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {rows:,}" for name, rows in sizes.items())
