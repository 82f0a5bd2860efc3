"""Files and folders that are there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SUFFIX = ".tmp"


def write_file(path: Path, content: bytes) -> None:
    """Writes a file under another name and renames it; an OSError leaves nothing behind."""
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`write_file` of readable JSON with sorted keys, the same bytes for the same value."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    write_file(path, (text + "\n").encode())


@contextlib.contextmanager
def new_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when the block ends without an error.

    Args:
      path: where it will lie. What another process put there meanwhile is kept.
      replace: put the new folder in the place of an old one instead.

    An error removes the unfinished folder; one left by a killed process of this machine is
    removed by the next call for the same path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = path.parent / f".{path.name}.{socket.gethostname()}.{os.getpid()}{_SUFFIX}"
    temporary.mkdir()
    try:
        yield temporary
        if replace and path.exists():
            old = temporary.with_name(f"{temporary.name}.old{_SUFFIX}")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        elif not path.exists():
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Removes unfinished folders for `path` whose process, on this machine, has died."""
    prefix = f".{path.name}.{socket.gethostname()}."
    for leftover in path.parent.glob(f".{path.name}.*{_SUFFIX}"):
        pid = leftover.name.removeprefix(prefix).split(".")[0]
        if leftover.name.startswith(prefix) and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
