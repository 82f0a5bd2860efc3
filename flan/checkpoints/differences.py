"""Says in which settings two runs or networks differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any


def differences(
    there: Any, here: Mapping[str, Any], free: Collection[str] = (), place: str = "here"
) -> str:
    """Each difference in words, "; " between them; "" without any.

    Args:
      there: what a checkpoint states, from JSON or on the way to it; nothing counts unless it
        is a mapping. What it does not state, an earlier version did not know: no difference.
      here: the settings to compare with, plain values.
      free: names that may differ.
      place: where `here` is, in words.
    """
    # As JSON has both: tuples have become lists.
    stated, wanted = json.loads(
        json.dumps([dict(there) if isinstance(there, Mapping) else {}, here])
    )
    return "; ".join(
        f"{name} is {stated[name]!r} there, {value!r} {place}"
        for name, value in wanted.items()
        if name in stated and name not in free and stated[name] != value
    )
