"""Options of Apache Beam's runners, read with suspicion: Beam itself drops what it does not know."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from flan.suggest import unknown_name

# Beam's DirectRunner may fetch a program from the internet to run the pipeline with; this one
# runs it in this process.
DEFAULT_RUNNER = "FnApiRunner"
# All options of these are Python's; other runners have some that only they know.
_KNOWN_TO_PYTHON = ("direct", "fnapi", "prism", "dataflow", "interactive")


def parse_options(flags: Sequence[str]) -> PipelineOptions:
    """Flags such as `--runner=FlinkRunner --flink_master=host:8081` as Beam's options.

    Without a runner the pipeline runs in this process. An option that is unknown to Python
    goes to a runner that may know it, which is said on stderr.

    Raises ValueError for anything else that Beam does not know.
    """
    parser: Any = _Parser(add_help=False, allow_abbrev=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    found, unknown = parser.parse_known_args(list(flags))
    runner = found.runner or DEFAULT_RUNNER
    read_by_python = any(name in runner.lower() for name in _KNOWN_TO_PYTHON)
    for flag in unknown:
        if read_by_python or not flag.startswith("--"):
            known = [name for action in parser._actions for name in action.option_strings]
            message = unknown_name("Beam option", flag.partition("=")[0], known, limit=3)
            raise ValueError(f"{message} (write --name=value)")
    if unknown:
        print(f"flan: passed on to {runner} unread: {' '.join(unknown)}", file=sys.stderr)
    options = PipelineOptions(list(flags))
    options.view_as(StandardOptions).runner = runner
    return options


class _Parser(argparse.ArgumentParser):
    """What Beam's classes declare their options with."""

    def add_value_provider_argument(self, *args: Any, **kwargs: Any) -> None:
        """Beam's name for an option whose value may come later."""
        self.add_argument(*args, **kwargs)

    def error(self, message: str) -> Any:
        raise ValueError(f"Beam's options: {message}")
