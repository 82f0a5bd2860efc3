"""Eight virtual CPU devices for every test, set before anything imports JAX."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, and no failure because a machine is busy.
settings.register_profile("flan", deadline=None, derandomize=True)
settings.load_profile("flan")

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Compiling is most of what these tests do, running is little: optimize less.
for flag in (
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
):
    if flag.partition("=")[0] not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real TFDS slices, from FLAN_REAL_DATA; skips where it is unset."""
    folder = os.environ.get("FLAN_REAL_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FLAN_REAL_DATA is not set to a folder of real TFDS data")
    return Path(folder)


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory) -> Path:
    """A TFDS folder with 60 train rows and 20 of each other split of RTE, SST-2 and TREC."""
    from flan.data.demo import write_demo

    folder = tmp_path_factory.mktemp("small_demo")
    write_demo(folder, ("rte", "sst2", "trec"), train_rows=60, eval_rows=20)
    return folder


class ServerThread:
    """What `seqio_process.start` gives, with a thread in the place of the process."""

    def __init__(self) -> None:
        self.connection, self._theirs = multiprocessing.Pipe()
        self.stdin = self
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        from flan.data.seqio_server import questions, serve

        with self._theirs, contextlib.suppress(SystemExit):
            serve(self._theirs, questions(self._theirs))

    def close(self) -> None:
        self.connection.close()

    def wait(self, timeout: float) -> int:
        self._thread.join(120)  # a thread cannot be killed, and machines are busy
        assert not self._thread.is_alive()
        return 0


@pytest.fixture
def server_threads(monkeypatch):
    """Serves seqio's examples from threads, which spares a process its TensorFlow.

    `tests/cli/test_train_seqio.py` has the process.
    """
    started = []

    def start():
        started.append(ServerThread())
        return started[-1].connection, started[-1]

    monkeypatch.setattr("flan.data.seqio_process.start", start)
    yield
    for server in started:
        server.close()
        server.wait(0)
