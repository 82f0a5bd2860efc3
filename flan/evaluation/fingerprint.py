"""Tells models apart by their bits, so that stored results belong to one set of weights."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flan.checkpoints.integrity import describe
from flan.checkpoints.manager import RUNTIME_SETTINGS
from flan.models.config import ModelConfig


def model_fingerprint(params: Any, config: ModelConfig, reads_start: bool) -> str:
    """SHA-256 in hex over parameters, the network that they are used in, and how it is asked.

    The same on any mesh and in any precision of computation, which cells note by themselves.
    Raises ValueError for an array of 64-bit numbers.
    """
    network = {k: v for k, v in config.to_json().items() if k not in RUNTIME_SETTINGS}
    return _hash([params_fingerprint(params), network, reads_start])


def params_fingerprint(params: Any) -> str:
    """SHA-256 in hex over names, shapes, dtypes and a checksum of each array's bits.

    The same on any mesh, and nothing is gathered. It guards against mistakes, not against
    forgery. Raises ValueError for an array of 64-bit numbers.
    """
    return _hash(sorted([name, *described] for name, described in describe(params).items()))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
