"""A run's mixture receipt on disk, and whether the run read what it promised."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from flan.checkpoints import layout
from flan.data import atomic
from flan.data.mixture import WINDOW
from flan.data.receipt import Receipt, ReceiptLine

log = logging.getLogger("flan")


def write_receipt(model_dir: Path, receipt: Receipt) -> None:
    """Writes `receipt.json`."""
    atomic.write_json(model_dir / layout.RECEIPT_FILE, receipt.to_json())


def is_recorded(model_dir: Path, receipt: Receipt, steps: int) -> bool:
    """Whether `receipt.json` tells already what the first `steps` steps of this mixture read."""
    try:
        content = json.loads((model_dir / layout.RECEIPT_FILE).read_bytes())
        found = Receipt.from_json(content)
    except (OSError, ValueError):
        return False
    counted = all(line.observed is not None for line in found.lines)
    return counted and (found.hash, found.steps) == (receipt.hash, steps)


def record_observed(model_dir: Path, observed: Receipt) -> None:
    """Puts beside the expected examples those that the run has read; warns where they differ."""
    write_receipt(model_dir, observed)
    for line in off_expected(observed):
        log.warning(
            "%s: %s examples read where the mixture promised %.1f; compare its receipt with the "
            "caches, and tell the authors",
            line.dataset,
            f"{line.observed:,}",
            line.expected,
        )


def off_expected(receipt: Receipt) -> list[ReceiptLine]:
    """Datasets that were read clearly more or less often than the mixture promised.

    Raw text promises no shares: none of it is listed.
    """
    # The mixture is exact at the end of each packing window, so only the last one, cut off
    # among its shuffled rows, strays: by chance, about like that many draws of a die. Mixtures
    # of very long and very short examples stayed under three standard deviations; a wrong
    # rate exceeds five within some hundred examples.
    return [
        line
        for line in receipt.lines
        if receipt.rate_limit is not None
        and line.observed is not None
        and abs(line.observed - line.expected)
        > 1 + 5 * math.sqrt(min(line.expected, line.probability * WINDOW))
    ]
