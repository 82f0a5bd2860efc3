"""Tables on a terminal, fitted to its width; in a pipe as wide as they are, never wrapped."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 10_000


def printable(text: str) -> str:
    """The text with control characters made visible, since rows may hold any."""
    return "".join(c if c in "\n\t" or c.isprintable() else _visible(c) for c in text)


def _visible(char: str) -> str:
    # Spaces other than " " are unprintable to Python and harmless to a terminal.
    return char if char.isspace() and ord(char) > 0x9F else f"\\u{ord(char):04x}"


def console() -> Console:
    """A rich console on stdout that does not wrap what goes into a pipe."""
    return Console(
        width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=False
    )


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Prints rows under a header; the columns named in `right` are aligned to the right.

    Cells are plain text: brackets in them are no markup.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)
