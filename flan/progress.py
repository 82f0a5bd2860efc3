"""Progress bars: live on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 15.0


def progress_bar(total: int | None, description: str, unit: str = "it", **options: Any) -> tqdm:
    """A tqdm bar on stderr; where stderr is no terminal it prints a line every 15 s.

    Use as a context manager; `update(n)` and `set_postfix(...)` are tqdm's. Further
    keywords go to tqdm (`initial=` for resumed work, `leave=False`).
    """
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        file=sys.stderr,
        dynamic_ncols=live,
        mininterval=0.2 if live else LOG_INTERVAL_S,
        maxinterval=10 if live else 2 * LOG_INTERVAL_S,
        **options,
    )
