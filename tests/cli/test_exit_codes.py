"""What `flan` ends with, whatever the command."""

import errno

import pytest

from flan.cli import datasets
from flan.cli.main import main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("a word"), 2),
        (FileNotFoundError("no such folder"), 2),
        (PermissionError("not yours"), 2),
        # These may be gone at the next try, which `flan launch` makes after a 1.
        (OSError(errno.EIO, "Input/output error"), 1),
        (OSError(errno.ENOSPC, "No space left on device"), 1),
        (TimeoutError("process 0 has not written it"), 1),
    ],
)
def test_mistakes_are_told_from_what_may_pass(monkeypatch, capsys, error, code):
    def run(args):
        raise error

    monkeypatch.setattr(datasets, "run", run)
    assert main(["datasets"]) == code
    assert capsys.readouterr().err == f"flan: error: {error}\n"
