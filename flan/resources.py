"""Where the shipped `templates/` and `configs/` are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path


def resource_dir(name: str) -> Path:
    """The folder `templates` or `configs`; FileNotFoundError if the installation lacks it."""
    package = Path(__file__).resolve().parent
    candidates = [package / "_resources" / name, package.parent / name]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = " or ".join(str(c) for c in candidates)
    raise FileNotFoundError(
        f"no {name!r} folder at {looked}: the installation is incomplete, reinstall flan"
    )
