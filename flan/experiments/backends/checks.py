"""Checks that the settings of several backends share."""

from __future__ import annotations

from typing import Any


def check_at_least_one(settings: Any, *names: str) -> None:
    """ValueError where one of these attributes is below 1."""
    for name in names:
        if (value := getattr(settings, name)) < 1:
            raise ValueError(f"{type(settings).__name__}.{name} must be at least 1, got {value}")
