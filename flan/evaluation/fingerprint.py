"""Tells parameters apart by their bits, so that stored results belong to one set of weights."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flan.checkpoints.integrity import describe


def params_fingerprint(params: Any) -> str:
    """SHA-256 in hex over names, shapes, dtypes and a checksum of each array's bits.

    The same on any mesh, and nothing is gathered. It guards against mistakes, not against
    forgery. Raises ValueError for an array of 64-bit numbers.
    """
    rows = sorted([name, *described] for name, described in describe(params).items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
