"""The whole path on generated data: the commands a user would type, one after another."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from flan.catalog import clusters

HELD_OUT = "nli"
# One dataset of each cluster that may train when NLI is held out. All 51 of them would be
# too much for a million parameters and a few minutes.
MIXTURE = (
    *("copa", "sst2", "arc", "e2e_nlg", "wmt16_deen"),
    *("bool_q", "cosmos_qa", "winogrande", "trec", "gigaword"),
)
# Of these: labels, reading, and writing.
ALSO_EVALUATED = ("sst2", "trec", "bool_q", "wmt16_deen")
ROWS = 12  # of each source and split, through each template


class StepFailed(ValueError):
    """A command of the demo ended with an error; it has said which."""


def run_demo(
    out: Path, pretrain_steps: int | None = None, tune_steps: int | None = None, rows: int = ROWS
) -> Path:
    """Runs the demo; what an earlier run finished is kept.

    Args:
      out: folder for everything.
      pretrain_steps, tune_steps: instead of those in `configs/runs/demo_*.gin`.
      rows: rows of each source and split to evaluate on.

    Returns:
      The report's page.

    Raises:
      StepFailed: one of the commands failed.
    """
    began = time.monotonic()
    data, caches = out / "tfds", out / "caches"
    base, tuned, results = out / "base", out / "tuned", out / "results"
    common = ["--data_dir", str(data), "--cache_dir", str(caches)]

    assert set(MIXTURE) <= set(clusters.training_datasets(HELD_OUT))
    mixture = ",".join(MIXTURE)
    _say(1, "generated data in the form of the real datasets")
    _write_data(data, (HELD_OUT, *MIXTURE))
    _say(2, "a vocabulary, and a language model pretrained on raw text")
    _flan(
        "train",
        "--gin_file=configs/runs/demo_pretrain.gin",
        f"--gin.MIXTURE_OR_TASK_NAME={mixture}",
        *([f"--gin.TRAIN_STEPS={pretrain_steps}"] if pretrain_steps else []),
        *["--model_dir", str(base), *common],
    )
    _say(3, f"instruction tuning; {HELD_OUT} is held out, and paraphrase, which overlaps with it")
    _flan(
        "train",
        "--gin_file=configs/runs/demo_finetune.gin",
        f"--gin.MIXTURE_OR_TASK_NAME={mixture}",
        f"--gin.INITIAL_CHECKPOINT_PATH={base}",
        *([f"--gin.TRAIN_STEPS={tune_steps}"] if tune_steps else []),
        *["--model_dir", str(tuned), *common],
    )
    _say(4, f"both models on the held-out cluster and on {', '.join(ALSO_EVALUATED)}")
    for label, folder in (("base", base), ("tuned", tuned)):
        _flan(
            *["eval", str(folder), "--name", label, "--out", str(results), *common],
            *["--datasets", ",".join((HELD_OUT, *ALSO_EVALUATED)), "--limit", str(rows)],
            # Both have read rows of the others' clusters, on purpose; of NLI neither has.
            *["--input_length", "128", "--target_length", "32", "--seen", "mark"],
        )
    _say(5, "the report")
    _flan(
        *["report", str(results), "--held_out", HELD_OUT, "--model_dir", str(base), str(tuned)],
        *["--out", str(out / "report"), "--title", "FLAN demo"],
    )
    page = out / "report" / "report.html"
    print(f"\ndone in {time.monotonic() - began:.0f} s; open {page}")
    return page


def _say(number: int, text: str) -> None:
    print(f"\n[{number}/5] {text}", file=sys.stderr, flush=True)


def _write_data(data: Path, names: Sequence[str]) -> None:
    # In a process of its own: writing TFDS data needs TensorFlow.
    code = (
        "import sys; from flan.data.demo import write_demo; write_demo(sys.argv[1], sys.argv[2:])"
    )
    _check([sys.executable, "-c", code, str(data), *names], "writing the demo data")


def _flan(*arguments: str) -> None:
    print(f"$ flan {shlex.join(arguments)}", file=sys.stderr, flush=True)
    _check([sys.executable, "-m", "flan.cli.main", *arguments], f"`flan {arguments[0]}`")


def _check(command: list[str], what: str) -> None:
    code = subprocess.run(command, check=False).returncode
    if code:
        raise StepFailed(f"{what} ended with exit code {code}; the lines above say why")
