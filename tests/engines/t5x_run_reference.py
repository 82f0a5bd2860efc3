"""A leave-one-out run of 200 steps through T5X, whose losses `golden/t5x_run.npz` keeps.

The examples are those of `flan_loo_nli` over demo data, as seqio gives them, packed by us:
both engines are given the same batches, since T5X's own packing puts other examples together.
The initial parameters are those of our initialization. Both are kept beside the losses. To make
them again, with T5X and what it needs importable (docs/t5x.md):

    python tests/engines/t5x_run_reference.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan.data.batch import Batch
from flan.models.config import ModelConfig
from flan.training.loop import LoopConfig
from flan.training.optimizer import OptimizerConfig
from flan.training.seqio_data import SeqioData
from flan.training.settings import RunConfig
from flan.training.state import TrainState

GOLDEN = Path(__file__).parent / "golden" / "t5x_run.npz"
STEPS, ROWS, LENGTHS = 200, 4, {"inputs": 96, "targets": 16}
MODEL = ModelConfig(vocab_size=384, num_layers=2, d_model=16, num_heads=2, d_head=8, d_ff=24)
OPTIMIZER = OptimizerConfig(learning_rate=3e-4)
TEXT = ["The dog is in the park. Does it follow? OPTIONS:\n- yes\n- no\n"] * 20


def run_config(model_dir: Path, data: Path, vocabulary: Path) -> RunConfig:
    return RunConfig(
        model_dir=str(model_dir),
        data=SeqioData(
            mixture="flan_loo_nli",
            feature_lengths=LENGTHS,
            data_dir=str(data),
            cache_dir=str(model_dir.parent / "caches"),
            on_missing="skip",
        ),
        loop=LoopConfig(steps=STEPS, log_every=1, save_every=STEPS),
        model=MODEL,
        batch_size=ROWS,
        optimizer=OPTIMIZER,
        vocabulary=str(vocabulary),
    )


def stored(batch: Batch) -> dict[str, np.ndarray]:
    """What cannot be derived of a batch."""
    return {
        "targets": batch.targets.astype(np.uint16),
        "segment_ids": batch.segment_ids.astype(np.uint8),
        "loss_weights": batch.loss_weights.astype(np.uint8),
    }


def restored(kept: dict[str, np.ndarray], step: int) -> Batch:
    """The batch of a step."""
    targets = kept["targets"][step].astype(np.int32)
    segments = kept["segment_ids"][step].astype(np.int32)
    places = np.arange(targets.shape[1], dtype=np.int32)
    before = np.pad(segments, ((0, 0), (1, 0)))[:, :-1]
    starts = np.maximum.accumulate(np.where(segments != before, places, 0), axis=1)
    first = (places == starts) | (segments == 0)
    tokens = np.where(first, 0, np.pad(targets, ((0, 0), (1, 0)))[:, :-1]).astype(np.int32)
    positions = np.where(segments > 0, places - starts, 0).astype(np.int32)
    weights = kept["loss_weights"][step].astype(np.float32)
    return Batch(tokens, targets, positions, segments, weights)


def main() -> None:
    from flan.data.demo import write_demo
    from flan.data.vocabulary import train_sentencepiece
    from flan.engines import t5x_run
    from flan.engines.t5x_process import T5xProcess
    from flan.training.metrics import read_metrics

    found: dict[str, Any] = {}
    batches: list[Batch] = []
    begin = t5x_run._begin

    class Recording(T5xProcess):
        def give(self, batch: Batch) -> None:
            batches.append(batch)
            super().give(batch)

    def recorded(state: TrainState, folder: Path) -> None:
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
            found["params/" + "/".join(entry.key for entry in path)] = np.asarray(leaf)
        begin(state, folder)

    t5x_run._begin, t5x_run.T5xProcess = recorded, Recording  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_demo(folder / "data", ("rte", "sst2", "trec"), train_rows=60, eval_rows=20)
        train_sentencepiece(TEXT, folder / "v", 320, shrink=True)
        t5x_run.run_t5x(run_config(folder / "run", folder / "data", folder / "v"))
        lines = read_metrics(folder / "run" / "metrics.jsonl")
    found["losses"] = np.array([line["loss"] for line in lines], np.float32)
    assert len(lines) == len(batches) == STEPS
    for step, batch in enumerate(batches):
        again = restored({k: v[None] for k, v in stored(batch).items()}, 0)
        for ours, theirs in zip(batch, again, strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=f"step {step}")
    columns = [stored(batch) for batch in batches]
    found |= {name: np.stack([c[name] for c in columns]) for name in columns[0]}
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **found)
    print(f"{GOLDEN}: {len(found)} arrays, {GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
