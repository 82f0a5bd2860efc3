"""The data path loads no TensorFlow, so that a bare training host can walk it."""

import subprocess
import sys

import pytest

MODULES = (
    "cache",
    "fleet_launch",
    "mixture",
    "packing",
    "loader",
    "phrasing",
    "prepare",
    "row_cache",
    "rows",
    "tokenization",
    "vocabulary",
)


@pytest.mark.parametrize(
    "code", ["import flan.cli.prepare", *(f"import flan.data.{m}" for m in MODULES)]
)
def test_imports(code):
    _run(f"{code}\n{CHECK}")


CHECK = """
import sys
heavy = {"tensorflow", "seqio", "tensorflow_datasets", "jax"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_preparing_rows_and_tokens(demo_data_dir, tmp_path):
    _run(f"""
from pathlib import Path
from flan.data.cache_plan import Request
from flan.data.prepare import prepare
from flan.data.vocabulary import train_sentencepiece
out = Path({str(tmp_path)!r})
train_sentencepiece(["The dog is in the park.\\n- yes\\n- no"] * 20, out / "v", 320, shrink=True)
request = Request(("rte",), out / "c", Path({str(demo_data_dir)!r}), vocabulary=out / "v")
assert len(prepare(request).open_tokens()["rte"][0])
{CHECK}""")


def _run(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
