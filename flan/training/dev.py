"""Scores on dev rows while a run trains. They read the parameters and touch nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan import partitioning, processes
from flan.data.batch import Batch
from flan.data.dev_examples import DevExamples, DevRow
from flan.models.config import ModelConfig
from flan.models.loss import loss_positions
from flan.models.transformer import Transformer
from flan.partitioning import MeshConfig
from flan.training.state import param_shardings
from flan.training.step import put_batch

# Options whose scores are this close are one score: the first wins, on any mesh.
_TIE = 1e-4

Evaluate = Callable[[Any], dict[str, float]]


def make_evaluation(
    examples: DevExamples,
    model_config: ModelConfig,
    mesh: Mesh,
    mesh_config: MeshConfig,
    *,
    batch_size: int,
    prefix_lm: bool = False,
) -> Evaluate:
    """The function from parameters on the mesh to scores by name.

    Args:
      examples: what to score.
      model_config: the network; its dropout is off.
      mesh, mesh_config: where the parameters lie.
      batch_size: packed rows of a batch.
      prefix_lm: as in training.

    Returns:
      A function, compiled once. Its scores are `eval/<dataset>/loss` (nats a token of the
      right answer), `eval/<dataset>/accuracy` (of choosing the most probable option; of the
      next token where there are no options), and both as `eval/mean/...` over the datasets.
    """
    share, shares = processes.share_of_rows(mesh, batch_size)
    part = batch_size // shares
    mine = slice(share * part, (share + 1) * part)
    batches, order, most = examples.batches(batch_size)
    local = [jax.tree.map(lambda x: x[mine], batch) for batch in batches]
    counts = np.array([len(t) for t in examples.tokens], np.int64) - examples.input_lengths
    weights = [batch.loss_weights for batch in batches]
    model = Transformer(model_config)
    whole = NamedSharding(mesh, PartitionSpec())

    def score(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Log-probability and correctness of the targets, `[rows, most]` each."""
        places = loss_positions(jnp.asarray(batch.loss_weights), most)
        targets = jnp.take_along_axis(jnp.asarray(batch.targets), places, axis=1)
        inputs = (batch.loss_weights == 0) & (batch.segment_ids > 0) if prefix_lm else None
        logits: Any = model.apply(
            {"params": params},
            batch.tokens,
            batch.targets,
            batch.segment_ids,
            batch.positions,
            inputs,
            logit_positions=places,
        )
        # A soft prompt's places have targets beyond the vocabulary; none of them counts.
        picked = jnp.take_along_axis(logits, targets[..., None], axis=-1, mode="clip")[..., 0]
        log_probs = picked - jax.nn.logsumexp(logits, axis=-1)
        return log_probs, picked >= jnp.max(logits, axis=-1)

    jitted = jax.jit(
        score,
        in_shardings=(
            param_shardings(model_config, mesh, mesh_config),
            partitioning.batch_sharding(mesh),
        ),
        out_shardings=whole,
    )

    def evaluate(params: Any) -> dict[str, float]:
        log_probs, correct = [], []
        with partitioning.use_mesh(mesh, mesh_config):
            for batch, weight in zip(local, weights, strict=True):
                scored = jax.device_get(jitted(params, put_batch(batch, mesh, batch_size)))
                # Each row's loss positions come first, in order.
                real = np.arange(most) < (weight > 0).sum(axis=1)[:, None]
                log_probs.append(scored[0][real])
                correct.append(scored[1][real])
        by_example = _by_example(order, counts)
        return summary(
            examples,
            by_example(np.concatenate(log_probs)),
            by_example(np.concatenate(correct)),
            counts,
        )

    return evaluate


def _by_example(order: np.ndarray, counts: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Sums, in the examples' own order, of what is there for each of their targets."""
    ends = np.concatenate([[0], np.cumsum(counts[order])])

    def sums(values: np.ndarray) -> np.ndarray:
        assert len(values) == ends[-1]
        running = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        found = np.empty(len(counts))
        found[order] = running[ends[1:]] - running[ends[:-1]]
        return found

    return sums


def summary(
    examples: DevExamples, log_probs: np.ndarray, correct: np.ndarray, counts: np.ndarray
) -> dict[str, float]:
    """Scores by name from each example's log-probability, correct tokens and tokens.

    A log-probability that is no number makes its dataset's scores NaN.
    """
    scores: dict[str, float] = {}
    names = list(dict.fromkeys(row.dataset for row in examples.rows))
    for name in names:
        rows = [row for row in examples.rows if row.dataset == name]
        right = np.array([row.first + row.right for row in rows])
        tokens = int(counts[right].sum())
        ranked = [row for row in rows if row.count > 1]
        scores[f"eval/{name}/loss"] = float(-log_probs[right].sum() / max(tokens, 1))
        accuracy = float(correct[right].sum() / max(tokens, 1))
        if ranked:
            accuracy = float(np.mean([_is_right(row, log_probs) for row in ranked]))
        scores[f"eval/{name}/accuracy"] = accuracy
    for kind in ("loss", "accuracy"):
        scores[f"eval/mean/{kind}"] = float(np.mean([scores[f"eval/{n}/{kind}"] for n in names]))
    return scores


def _is_right(row: DevRow, log_probs: np.ndarray) -> float:
    """1.0 where the right option is chosen, else 0.0; NaN where an option's score is no number."""
    options = log_probs[row.first : row.first + row.count]
    if not np.isfinite(options).all():
        return math.nan
    return float(np.flatnonzero(options >= options.max() - _TIE)[0] == row.right)
