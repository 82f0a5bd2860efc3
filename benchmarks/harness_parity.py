"""Do we predict what lm-evaluation-harness predicts? The same weights, rows and prompts.

  python benchmarks/harness_parity.py models/smollm2 models/smollm2_hf --data_dir TFDS_FOLDER

The rows of each dataset are put as `flan eval --mode baseline` puts them. The harness gets
the texts (prompt, " " + option) through its own `loglikelihood`, which tokenizes them itself;
ours goes through `flan.evaluation` as always. Printed are, for each dataset, the accuracy of
both by the sum of log-probabilities and by its mean over bytes, on how many rows the
predictions agree, and for each row where they do not, how far apart the two options are: a
tie where it is less than the two sides' own difference. Ends with 1 where fewer than 99.5%
of the rows agree, ties left out. `--golden FILE` keeps the harness's figures for
`tests/evaluation/test_harness_parity.py`. Needs torch, transformers and lm-eval.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from flan.catalog.registry import get_dataset
from flan.evaluation.cached_rows import CachedRowStore
from flan.evaluation.model import load_model
from flan.evaluation.rows import Rows, spread
from flan.templates.template import Rendered
from flan.testing.baseline import baseline_scores, baseline_texts

DATASETS = ("hellaswag", "piqa", "arc", "bool_q", "rte")
ENOUGH = 99.5


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ours", type=Path, help="a model folder")
    parser.add_argument("theirs", type=Path, help="the same weights as a Hugging Face folder")
    parser.add_argument("--data_dir", type=Path, required=True, help="TFDS folder")
    parser.add_argument("--cache_dir", type=Path, default=Path("~/.cache/flan").expanduser())
    parser.add_argument("--rows", type=int, default=100, help="of each source (default: 100)")
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--golden", type=Path, help="write the harness's figures there")
    args = parser.parse_args()
    model = load_model(args.ours)
    harness = load_harness(args.theirs)
    report, golden = {}, {}
    for name in args.datasets.split(","):
        for source, rows in baseline_rows(name, args).items():
            texts = baseline_texts(name, rows)
            ours = [one.log_probs for one in baseline_scores(model, texts)]
            theirs = harness_log_probs(harness, texts)
            report[f"{name}/{source}"] = compare(rows, texts, ours, theirs)
            golden[f"{name}/{source}"] = {
                str(row): np.round(one, 4).tolist()
                for row, one in zip(rows.ids, theirs, strict=True)
            }
            print(json.dumps({f"{name}/{source}": report[f"{name}/{source}"]}), flush=True)
    if args.golden:
        args.golden.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    rows = sum(r["rows"] for r in report.values())
    agreed = sum(r["agree"] + r["ties"] for r in report.values())
    print(f"{agreed} of {rows} predictions agree ({100 * agreed / rows:.2f}%)")
    return 0 if 100 * agreed >= ENOUGH * rows else 1


def baseline_rows(name: str, args: argparse.Namespace) -> dict[str, Rows]:
    """Rows of the test split of each source of a dataset."""
    store = CachedRowStore(args.cache_dir, args.data_dir)
    sets = store.open([get_dataset(name)], ["test"])
    return {
        source: rows.load(spread(len(rows), args.rows)) for (_, source, _), rows in sets.items()
    }


def load_harness(folder: Path) -> Any:
    """lm-evaluation-harness's model of a folder, float32."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return HFLM(pretrained=network.eval(), tokenizer=tokenizer, batch_size=16, max_length=1280)


def harness_log_probs(harness: Any, texts: list[Rendered]) -> list[np.ndarray]:
    from lm_eval.api.instance import Instance

    asked = [
        Instance("loglikelihood", {}, (text.input, f" {option}"), place)
        for place, text in enumerate(texts)
        for option in text.options
    ]
    found = iter(harness.loglikelihood(asked, disable_tqdm=True))
    return [np.array([next(found)[0] for _ in text.options]) for text in texts]


def compare(
    rows: Rows, texts: list[Rendered], ours: list[np.ndarray], theirs: list[np.ndarray]
) -> dict[str, Any]:
    sizes = [np.array([len(o.encode()) for o in text.options]) for text in texts]
    labels = [fields.label for fields in rows.examples]
    apart = [float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)]
    ties, different = 0, []
    for row, a, b, difference in zip(rows.ids, ours, theirs, apart, strict=True):
        if (i := int(a.argmax())) != (j := int(b.argmax())):
            margin = float(max(a[i] - a[j], b[j] - b[i]))
            tied = margin <= 2 * difference + 1e-4
            ties += tied
            different.append({"row": row, "margin": margin, "apart": difference, "tie": tied})

    def accuracy(scores: list[np.ndarray]) -> float:
        right = [int(s.argmax()) == label for s, label in zip(scores, labels, strict=True)]
        return round(100 * float(np.mean(right)), 2)

    def by_bytes(scores: list[np.ndarray]) -> list[np.ndarray]:
        return [s / n for s, n in zip(scores, sizes, strict=True)]

    return {
        "rows": len(texts),
        "agree": len(texts) - len(different),
        "ties": ties,
        "disagreements": different,
        "accuracy": {"ours": accuracy(ours), "lm_eval": accuracy(theirs)},
        "accuracy_by_bytes": {
            "ours": accuracy(by_bytes(ours)),
            "lm_eval": accuracy(by_bytes(theirs)),
        },
        "largest_difference": max(apart),
    }


if __name__ == "__main__":
    sys.exit(main())
