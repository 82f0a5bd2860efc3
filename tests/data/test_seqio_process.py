"""The process that reads for training: it ends with its parent, and not by its signals.

None of this asks it for examples, so that none of it waits for TensorFlow.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flan.data.seqio_process import Closed, SeqioProcess, start

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc here")


def alive(pid):
    """Whether a process is there and at work (a killed one may wait for a parent to notice)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(happened, seconds=60):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def listens(pid):
    """Whether it ignores SIGTERM by now."""
    with open(f"/proc/{pid}/status") as file:
        ignored = next(line for line in file if line.startswith("SigIgn")).split()[1]
    return int(ignored, 16) & (1 << (signal.SIGTERM - 1))


def test_it_ends_when_closed_and_not_by_its_parent_s_signals():
    process = SeqioProcess()
    pid = process._child.pid
    wait_until(lambda: listens(pid))
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    time.sleep(0.1)
    assert alive(pid)
    process.close()
    assert process._child.returncode == 0
    with pytest.raises(Closed):
        process.ask({})
    process.close()


def test_it_ends_with_the_object():
    process = SeqioProcess()
    child = process._child
    wait_until(lambda: listens(child.pid))
    del process
    assert child.returncode == 0


def test_it_ends_when_its_parent_is_killed():
    code = """
import time
from flan.data.seqio_process import SeqioProcess
process = SeqioProcess()
print(process._child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not alive(pid))


def test_one_that_is_killed_is_told():
    process = SeqioProcess()
    process._child.kill()
    with pytest.raises(OSError, match=r"ended with code -9, perhaps for want of memory"):
        process.ask({"stream": {}})
    process.close()


def test_its_environment(tmp_path, monkeypatch):
    """No accelerator, a fixed order of sets, and the modules that this process finds."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("flan.data.seqio_process._MODULE", "tells_about_itself")
    (tmp_path / "tells_about_itself.py").write_text(
        "import json, os, sys\n"
        "from multiprocessing.connection import Connection\n"
        "print('not among the messages')\n"
        "names = ('CUDA_VISIBLE_DEVICES', 'JAX_PLATFORMS', 'PYTHONHASHSEED')\n"
        "told = [os.environ[name] for name in names]\n"
        "Connection(int(sys.argv[1])).send_bytes(json.dumps([told, sys.path]).encode())\n"
    )
    connection, child = start()
    with contextlib.closing(connection):
        told, path = json.loads(connection.recv_bytes())
    child.stdin.close()
    assert child.wait(60) == 0
    assert told == ["-1", "cpu", "0"]
    assert str(tmp_path) in path
    assert os.getcwd() in path
