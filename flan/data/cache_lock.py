"""One preparation at a time in a cache folder, and what a full disk means for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# What file systems without locks answer; which one depends on who made them.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def preparing(cache_dir: Path) -> Iterator[None]:
    """Holds the folder's lock, so that the next preparation finds its work done.

    The folder is made if it is not there. A file system without locks does without: caches
    are put in place whole, so that two at work only do the same twice.

    Raises OSError that says what to do where the disk is full.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    try:
        with _lock(cache_dir):
            yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OSError(
            error.errno,
            f"no space left in {cache_dir}. What is finished is kept and nothing is half "
            "written: make room, or give another --cache_dir, and run again",
        ) from error


@contextlib.contextmanager
def _lock(cache_dir: Path) -> Iterator[None]:
    with (cache_dir / ".prepare.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"flan: another preparation is at work in {cache_dir}, waiting", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
