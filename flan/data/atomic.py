"""Files and folders that are there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_SUFFIX = ".tmp"
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)  # why a folder cannot be written


def write_file(path: Path, content: bytes, sync: bool = False) -> None:
    """Writes a file under another name and renames it; an OSError leaves nothing behind.

    With `sync` it is on the disk before it gets its name, so that a machine that loses power
    does not leave an empty file there.
    """
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}"
    try:
        temporary.write_bytes(content)
        if sync:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, sync: bool = False) -> None:
    """`write_file` of readable JSON with sorted keys, the same bytes for the same value."""
    write_file(path, json_bytes(value), sync)


def json_bytes(value: Any) -> bytes:
    """What `write_json` writes."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files by name into a folder that nobody reads yet."""
    for name, content in files.items():
        (folder / name).write_bytes(content)


@contextlib.contextmanager
def new_folder(
    path: Path, replace: bool = False, is_whole: Callable[[Path], bool] = lambda path: True
) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when the block ends without an error.

    Args:
      path: where it will lie. What another thread, process or machine put there meanwhile
        is kept.
      replace: put the new folder in the place of an old one instead.
      is_whole: whether a folder that is there is worth keeping; one that is not is replaced.

    An error removes the unfinished folder; one left by a killed process of this machine is
    removed by the next call for the same path.
    """
    with passing_folder(path) as temporary:
        yield temporary
        if path.exists() and (replace or not is_whole(path)):
            old = temporary.with_name(f"{temporary.name}.old{_SUFFIX}")
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                path.rename(old)
            _rename_unless_there(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        elif not path.exists():
            _rename_unless_there(temporary, path)


@contextlib.contextmanager
def passing_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` for the time of the block, and one for each caller.

    One left by a killed process of this machine is removed by the next call for `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    name = f"{_prefix(path)}{os.getpid()}.{uuid.uuid4().hex[:8]}"
    temporary = path.parent / f"{name}{_SUFFIX}"
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path, everywhere: bool = False) -> None:
    """Removes unfinished folders for `path` whose process, on this machine, has died.

    With `everywhere` all of them go, for a caller that knows that nobody is at work there.
    """
    prefix = _prefix(path)
    for entry in list(path.parent.iterdir()):
        if not (entry.name.startswith(f".{path.name}.") and entry.name.endswith(_SUFFIX)):
            continue
        pid = entry.name.removeprefix(prefix).split(".")[0]
        dead = entry.name.startswith(prefix) and pid.isdigit() and not alive(int(pid))
        if dead or everywhere:
            shutil.rmtree(entry, ignore_errors=True)


def _rename_unless_there(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        # Between the look and the rename another process, or another machine, was quicker.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _prefix(path: Path) -> str:
    """Begins the names of this machine's unfinished folders for a path."""
    return f".{path.name}.{machine()}."


@functools.cache
def machine() -> str:
    """Names where process ids can be compared: containers may share a host's name."""
    try:
        namespace = f"-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        namespace = ""
    return socket.gethostname() + namespace


def alive(pid: int) -> bool:
    """Whether this machine runs a process of that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
