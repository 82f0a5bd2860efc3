"""Damages checkpoints for tests, in places that are read whatever layout orbax chose.

Which array lies where in which file changes from run to run, and files hold index nodes that
later ones replaced: in a small checkpoint half of one file's bytes are never read again.
"""

from __future__ import annotations

from pathlib import Path


def flip_bits(path: Path, *places: int) -> None:
    """Flips a bit of a file at the given bytes; without any, in the middle of each tenth."""
    content = bytearray(path.read_bytes())
    tenths = range(len(content) // 20, len(content), max(len(content) // 10, 1))
    for place in places or tenths:
        content[place] ^= 4
    path.write_bytes(content)


def flip_array_bits(step_folder: Path) -> None:
    """Flips bits all over the files with the arrays of one checkpoint."""
    for path in sorted(step_folder.glob("state/ocdbt.process_*/d/*")):
        flip_bits(path)


def index_file(step_folder: Path) -> Path:
    """The largest file of the index by which all arrays of one checkpoint are found."""
    return max((step_folder / "state/d").iterdir(), key=lambda path: path.stat().st_size)
