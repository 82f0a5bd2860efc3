"""Locks on files, which end with the processes that hold them, however these end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# What file systems without locks say, some network folders among them.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[IO[bytes]]:
    """Holds the lock of a file, which is made; processes that inherit the file hold it, too.

    Raises BlockingIOError where another process has it and there is to be no waiting. Where
    the folder's file system has no locks it says so and goes on: a lock keeps two launches
    apart, and a single one does without.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            print(
                f"flan: {path.parent} lies on a file system without locks ({error.strerror}): "
                "see to it that one launch at a time works in it",
                file=sys.stderr,
            )
        yield file
