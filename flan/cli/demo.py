"""The whole path on generated data, in minutes on two CPU cores.

Writes data in the form of the real datasets, trains a vocabulary, pretrains a tiny language
model on raw text, tunes it on instructions with the NLI cluster held out, evaluates both on
NLI and on clusters that it was tuned on, prints a table and writes an HTML report.

Each step is a command that is printed and can be run by hand. Run again, the demo keeps
what is finished.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan demo`."""
    parser.add_argument(
        "--out", default="demo_out", metavar="DIR", help="folder for everything (default: demo_out)"
    )
    parser.add_argument(
        "--pretrain_steps", type=int, metavar="N", help="instead of demo_pretrain.gin's"
    )
    parser.add_argument(
        "--tune_steps",
        type=int,
        metavar="N",
        help="instead of demo_finetune.gin's 800; more than its 20 of warm-up",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=12,
        metavar="N",
        help="rows of each source and split to evaluate on (default: 12)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the demo."""
    from flan.experiments.demo import run_demo

    run_demo(Path(args.out).expanduser(), args.pretrain_steps, args.tune_steps, args.rows)
    return 0
