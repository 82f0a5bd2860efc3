"""Which errors are a user's mistakes, and which may pass."""

from __future__ import annotations

EXIT_FAILED, EXIT_MISTAKE = 1, 2

# Other OSErrors (a full disk, a network folder that was away) may be gone at the next try.
_MISTAKES = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)


def exit_code(error: Exception) -> int:
    """What a command ends with: 2 for what trying again does not mend, else 1."""
    return EXIT_MISTAKE if isinstance(error, _MISTAKES) else EXIT_FAILED
