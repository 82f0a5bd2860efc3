"""What each part of the package loads: no TensorFlow where a bare training host runs it."""

import json
import subprocess
import sys
import time

import pytest

HEAVY = ("tensorflow", "tensorflow_text", "tensorflow_datasets", "seqio")
ALSO_HEAVY = (*HEAVY, "jax", "flax", "optax", "orbax", "gin", "matplotlib", "scipy")

IMPORT_ALL = """
import importlib, pkgutil
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
for name in {modules!r}:
    importlib.import_module(name)
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running the code."""
    code += "\nimport json, sys\nprint()\nprint(json.dumps(sorted(m for m in sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_training_and_evaluation_load_no_tensorflow():
    packages = ("flan.training", "flan.models", "flan.evaluation", "flan.checkpoints")
    packages += ("flan.planning",)
    modules = ("flan.cli.train", "flan.cli.eval", "flan.gin_edge", "flan.partitioning")
    found = loaded(IMPORT_ALL.format(packages=packages, modules=modules))
    assert "flan.training.run" in found
    assert "flan.evaluation.driver" in found
    assert "jax" in found
    assert not found & set(HEAVY)


def test_catalog_and_templates_load_neither_tensorflow_nor_jax():
    packages = ("flan.catalog", "flan.templates", "flan.data.demo_rows")
    found = loaded(IMPORT_ALL.format(packages=packages, modules=()))
    assert "flan.templates.load" in found
    assert not found & set(ALSO_HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import flan",
        "from flan.cli.main import main; main(['--help'])",
        "from flan.cli.main import main; main(['--version'])",
    ],
)
def test_the_package_and_its_help_load_nothing_heavy(code):
    found = loaded(code)
    assert "flan" in found
    assert not found & {*ALSO_HEAVY, "numpy", "yaml", "tqdm", "rich"}
    assert not any(name.startswith(("flan.catalog", "flan.data")) for name in found)


def test_help_comes_at_once():
    """0.1 s on an idle machine, 0.3 s promised; twice that is allowed on a busy one."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        command = [sys.executable, "-m", "flan.cli.main", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - began)
    assert "train" in done.stdout
    assert min(times) < 0.6


def test_every_command_of_the_help_exists():
    code = """
import argparse, importlib
from flan.cli.main import COMMANDS
for name, (module, _) in COMMANDS.items():
    command = importlib.import_module(module)
    command.add_arguments(argparse.ArgumentParser())
    assert command.__doc__ and callable(command.run), name
"""
    assert not loaded(code) & {*HEAVY, "jax"}
