import json
import random

import pytest

from flan.evaluation.results import Cell, CellId, write_cell, write_checkpoint

DATASETS = {
    "rte": ("nli", ("rte",), "accuracy"),
    "anli": ("nli", ("r1", "r2", "r3"), "accuracy"),
    "cb": ("nli", ("cb",), "accuracy"),
    "sst2": ("sentiment", ("sst2",), "accuracy"),
    "squad": ("reading_comprehension", ("v1", "v2"), "f1"),
    "cosmos_qa": ("reading_comprehension_commonsense", ("cosmos_qa",), "accuracy"),
    "wmt16_roen": ("translation", ("wmt16_roen",), "bleu"),
}


def _write_results(folder, labels, seed=0, datasets=DATASETS, modes=("instructions",)):
    """Made-up cells: labels -> how good the checkpoint is, 0 to 100."""
    rng = random.Random(seed)
    for label, (level, step) in labels.items():
        write_checkpoint(folder, label, {"fingerprint": label, "step": step})
        for mode in modes:
            for name, (cluster, sources, metric) in datasets.items():
                for source in sources:
                    for template in range(4):
                        for split in ("dev", "test"):
                            score = min(100, max(0, rng.gauss(level, 5)))
                            cell = Cell(
                                CellId(label, mode, name, source, split, f"t{template}"),
                                "key",
                                cluster,
                                "rank",
                                metric,
                                {metric: score},
                                {},
                                tuple(score + rng.gauss(0, 3) for _ in range(50)),
                                {"rows": 200},
                                {"checkpoint": label},
                            )
                            write_cell(folder, cell, [])
    return folder


@pytest.fixture
def write_results():
    return _write_results


@pytest.fixture
def results(tmp_path):
    return _write_results(tmp_path / "results", {"tuned": (61, 2000), "base": (45, 1000)})


@pytest.fixture
def model_dir(tmp_path):
    folder = tmp_path / "no_nli"
    folder.mkdir()
    lines = [json.dumps({"step": s, "loss": 9 / (1 + s / 100), "lr": 1}) for s in range(1, 400, 5)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder
