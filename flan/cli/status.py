"""Shows how far the jobs of an experiment have come.

flan status loo            once
flan status loo --watch    again every few seconds, until all is done or Ctrl-C
flan status loo --log nli/train    the end of a job's log
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("experiment", metavar="DIR", help="folder that `flan launch --out` made")
    parser.add_argument("--watch", action="store_true", help="show it again every few seconds")
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="seconds (5)")
    parser.add_argument("--log", metavar="JOB", help="print the last lines of a job's log instead")


def run(args: argparse.Namespace) -> int:
    """Prints a line for each job."""
    from flan.cli.tables import print_table, printable
    from flan.experiments.progress import COLUMNS, log_tail, progress_rows, unfinished
    from flan.experiments.state import read_record

    out = Path(args.experiment).expanduser()
    if args.every <= 0:
        raise ValueError(f"--every must be above 0 seconds, got {args.every:g}")
    if args.log:
        print(printable(log_tail(out, args.log)), end="")
        return 0
    while True:
        record = read_record(out)
        left = unfinished(out, record)
        if args.watch and sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        print_table(COLUMNS, progress_rows(out, record), right=COLUMNS[2:4])
        done = len(record.jobs) - left
        print(f"{record.name}: {done} of {len(record.jobs)} jobs done, in {out}", flush=True)
        if not args.watch or not left:
            return 0
        time.sleep(args.every)
