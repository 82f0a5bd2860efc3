import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import flan.evaluation
for module in pkgutil.walk_packages(flan.evaluation.__path__, "flan.evaluation."):
    importlib.import_module(module.name)
importlib.import_module("flan.cli.eval")
print([m for m in ("tensorflow", "tensorflow_datasets", "tensorflow_text", "seqio") if m in sys.modules])
"""


def test_no_tensorflow():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
