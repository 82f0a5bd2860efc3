"""Writes what an orchestrator is given: YAML files, and a script that submits them in order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flan.data import atomic

SUBMIT = "submit.sh"


class _Dumper(yaml.SafeDumper):
    """Scripts as blocks, for people to read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(*documents: Mapping[str, Any]) -> str:
    """Documents as one YAML text, keys in the order given."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=10_000)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Writes files into a folder that holds nothing else, whole or not at all."""
    with atomic.new_folder(folder, replace=True) as temporary:
        for name, text in files.items():
            (temporary / name).write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                os.chmod(temporary / name, 0o755)
