"""Files and folders that are there whole or not at all."""

import os
import subprocess
import sys
import threading

import pytest

from flan.data import atomic


def fill(path, text, replace=False):
    with atomic.new_folder(path, replace) as folder:
        (folder / "a").write_text(text)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_files_are_replaced_whole(tmp_path):
    for text in (b"one", b"two"):
        atomic.write_file(tmp_path / "a", text)
    assert (tmp_path / "a").read_bytes() == b"two"
    with pytest.raises(FileNotFoundError):
        atomic.write_file(tmp_path / "none" / "a", b"")
    assert names(tmp_path) == ["a"]


def test_folders_are_kept_or_replaced(tmp_path):
    fill(tmp_path / "f", "one")
    fill(tmp_path / "f", "two")
    assert (tmp_path / "f/a").read_text() == "one"
    fill(tmp_path / "f", "three", replace=True)
    assert (tmp_path / "f/a").read_text() == "three"
    assert names(tmp_path) == ["f"]


def test_a_folder_that_is_not_whole_is_replaced(tmp_path):
    def keep_or_replace(text):
        with atomic.new_folder(tmp_path / "f", is_whole=lambda p: (p / "b").exists()) as folder:
            (folder / "a").write_text(text)

    fill(tmp_path / "f", "half")
    keep_or_replace("whole")
    (tmp_path / "f/b").touch()
    keep_or_replace("another")
    assert (tmp_path / "f/a").read_text() == "whole"
    assert names(tmp_path) == ["f"]


def test_an_error_leaves_nothing(tmp_path):
    def fails():
        with atomic.new_folder(tmp_path / "f") as folder:
            (folder / "a").write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fails()
    assert names(tmp_path) == []


def test_two_threads_fill_the_same_folder_at_once(tmp_path):
    """As a fleet does that gives the same work to two of its workers."""
    inside = threading.Barrier(2)

    def work(text):
        with atomic.new_folder(tmp_path / "f") as folder:
            (folder / "a").write_text(text)
            inside.wait(30)

    threads = [threading.Thread(target=work, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "f/a").read_text() in ("one", "two")
    assert names(tmp_path) == ["f"]


def test_a_folder_that_appears_before_the_rename_is_kept(tmp_path, monkeypatch):
    rename = atomic._rename_unless_there

    def late(temporary, path):
        path.mkdir()
        (path / "a").write_text("theirs")
        rename(temporary, path)

    monkeypatch.setattr(atomic, "_rename_unless_there", late)
    fill(tmp_path / "f", "mine")
    assert (tmp_path / "f/a").read_text() == "theirs"
    assert names(tmp_path) == ["f"]


def test_leftovers_of_the_dead_go_and_those_of_others_stay(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from flan.data import atomic
with atomic.new_folder(Path({str(tmp_path / "f")!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (dead,) = tmp_path.iterdir()
    elsewhere = tmp_path / ".f.another-machine.1.0a0a0a0a.tmp"
    alive = tmp_path / f"{atomic._prefix(tmp_path / 'f')}{os.getpid()}.0a0a0a0a.tmp"
    other = tmp_path / ".g.another-machine.1.0a0a0a0a.tmp"
    for folder in (elsewhere, alive, other):
        folder.mkdir()
    fill(tmp_path / "f", "one")
    assert names(tmp_path) == sorted(["f", *(p.name for p in (elsewhere, alive, other))])
    assert not dead.exists()
    atomic.remove_leftovers(tmp_path / "f", everywhere=True)
    assert names(tmp_path) == [other.name, "f"]
