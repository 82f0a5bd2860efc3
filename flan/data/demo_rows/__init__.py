"""Seeded generators of demo rows, one module a cluster, in the real builders' features.

Each module has `GENERATORS`: TFDS name -> `generate(rng, count) -> list of rows`. Rows are
plain Python values, as `tfds.as_numpy` would give them after decoding: text as str, class
labels as int in the builder's order. Each task can be learned from its rows: a rule links
input and answer. Pure Python; `flan.data.demo` writes the rows as TFDS.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from typing import Any

from flan.catalog.clusters import CLUSTERS

Generator = Callable[[random.Random, int], list[dict[str, Any]]]


def generator(cluster: str, tfds: str) -> Generator:
    """The generator for a TFDS config of a cluster's dataset, e.g. ("nli", "super_glue/rte")."""
    if cluster not in CLUSTERS and cluster != "extra":
        raise ValueError(f"unknown cluster {cluster!r}")
    module = importlib.import_module(f"flan.data.demo_rows.{cluster}")
    return module.GENERATORS[tfds]
