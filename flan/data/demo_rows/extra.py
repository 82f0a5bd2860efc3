"""Demo rows of the extra tasks, which read the English side of English-Danish pages.

`misc`'s fix_punct reads the same TFDS config, and takes its generator from here.
"""

from __future__ import annotations

import random
from typing import Any

from flan.data.demo_rows.translation import pairs


def english_danish(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """para_crawl/enda: English sentences with capitals and punctuation, and toy Danish."""
    return pairs(rng, count, "da")


GENERATORS = {"para_crawl/enda": english_danish}
