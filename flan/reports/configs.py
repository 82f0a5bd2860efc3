"""How the settings of runs differ, from the `config.gin` in their folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_BINDING = re.compile(r"([A-Za-z_][\w./@]*)\s*=\s*(.*)")
# What differs between any two runs, and says nothing.
_OWN = ("MODEL_DIR", "RunConfig.model_dir")


def parse_config(text: str) -> dict[str, str]:
    """Setting -> value, as gin writes its operative configuration; values over several lines joined."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        plain = line.strip()
        if not plain or plain.startswith("#") or plain.startswith(("import ", "from ", "include ")):
            continue
        match = _BINDING.fullmatch(line) if not line[0].isspace() else None
        if match:
            name = match[1]
            found[name] = match[2].rstrip("\\").strip()
        elif name:
            found[name] = f"{found[name]} {plain.rstrip(chr(92)).strip()}".strip()
    return found


def differences(configs: Mapping[str, Mapping[str, str]]) -> list[tuple[str, Sequence[str]]]:
    """Settings in which runs differ, and each run's value ("" where it has none), in order of runs."""
    names = sorted({name for config in configs.values() for name in config})
    found: list[tuple[str, Sequence[str]]] = []
    for name in names:
        values = [config.get(name, "") for config in configs.values()]
        if name not in _OWN and len(set(values)) > 1:
            found.append((name, values))
    return found
