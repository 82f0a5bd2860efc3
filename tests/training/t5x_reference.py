"""What T5X computes for fixed numbers: its Adafactor over 20 steps, and the loss of a batch.

`golden/t5x.npz` keeps its answers, so that the comparison needs no T5X. To make them again,
with T5X and what it needs importable (docs/t5x.md):

    python tests/training/t5x_reference.py

The inputs come from NumPy's legacy generator, whose stream is frozen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan.data.batch import Batch
from flan.models import ModelConfig, Transformer
from flan.models.loss import LossConfig
from flan.training.optimizer import OptimizerConfig

GOLDEN = Path(__file__).parent / "golden" / "t5x.npz"
STEPS = 20

# Small and large, stacked and single: on both sides of T5X's factoring threshold of 128.
SHAPES: dict[str, Any] = {
    "layers": {
        "mlp": {"kernel": (3, 24, 40)},
        "attention": {"kernel": (2, 130, 132)},
        "norm": {"scale": (3, 24)},
    },
    "token_embedder": {"embedding": (150, 128)},
    "relpos_bias": {"rel_embedding": (4, 32)},
    "decoder_norm": {"scale": (24,)},
}
AXES: dict[str, Any] = {
    "layers": {
        "mlp": {"kernel": ("layers", "embed", "mlp")},
        "attention": {"kernel": ("layers", "embed", "joined_kv")},
        "norm": {"scale": ("layers", "embed")},
    },
    "token_embedder": {"embedding": ("vocab", "embed")},
    "relpos_bias": {"rel_embedding": ("heads", "relpos_buckets")},
    "decoder_norm": {"scale": ("embed",)},
}
# Our settings, and T5X's arguments that are to mean the same.
VARIANTS: dict[str, tuple[OptimizerConfig, dict[str, Any], dict[str, Any]]] = {
    "flan": (OptimizerConfig(), {"multiply_by_parameter_scale": False}, {}),
    "relative": (
        OptimizerConfig(learning_rate=0.02, scale_by_parameters=True, clip_norm=1.0),
        {"global_norm_clip_threshold": 1.0},
        {},
    ),
    "unfactored": (
        OptimizerConfig(learning_rate=0.01, factored=False),
        {"multiply_by_parameter_scale": False},
        {},
    ),
    "rsqrt": (
        OptimizerConfig(
            learning_rate=0.05, schedule="rsqrt", warmup_steps=5, scale_by_parameters=True
        ),
        {},
        {"factors": "constant * linear_warmup * rsqrt_normalized_decay", "warmup_steps": 5},
    ),
    "decayed": (
        OptimizerConfig(learning_rate=0.02, weight_decay=0.3, clip_update=0.5, decay_rate=0.6),
        {
            "multiply_by_parameter_scale": False,
            "weight_decay_rate": 0.3,
            "weight_decay_rate_lr_exponent": 1.0,
            "clipping_threshold": 0.5,
            "decay_rate": 0.6,
        },
        {},
    ),
    "momentum": (
        OptimizerConfig(
            learning_rate=0.02, momentum=0.9, weight_decay=0.01, weight_decay_lr_exponent=0.0
        ),
        {"multiply_by_parameter_scale": False, "beta1": 0.9, "weight_decay_rate": 0.01},
        {},
    ),
}

MODEL = ModelConfig(vocab_size=60, num_layers=2, d_model=24, num_heads=2, d_head=16, d_ff=40)
LOSSES = {
    "plain": LossConfig(),
    "z_loss": LossConfig(z_loss=1e-3),
    "smoothed": LossConfig(label_smoothing=0.1, z_loss=1e-4),
}


def random_tree(shapes: Any, seed: int) -> Any:
    """Normal numbers; each layer of a stack ten times the size of the one before."""
    rng = np.random.RandomState(seed)

    def make(path: Any, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape)
        if path[0].key == "layers":
            values *= 10.0 ** np.arange(-1, shape[0] - 1).reshape(-1, *[1] * (len(shape) - 1))
        return values.astype(np.float32)

    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree_util.tree_map_with_path(make, shapes, is_leaf=is_shape)


def start() -> Any:
    return random_tree(SHAPES, 0)


def gradient(step: int) -> Any:
    return random_tree(SHAPES, 1 + step)


def thinned(tree: Any) -> dict[str, np.ndarray]:
    """Every 23rd number of each array and its norm, by path: enough to tell, little to keep."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        flat = np.asarray(leaf, np.float64).ravel()
        name = "/".join(entry.key for entry in path)
        found[name] = np.append(flat[::23], np.linalg.norm(flat)).astype(np.float32)
    return found


def model_params() -> Any:
    """Parameters of MODEL, of the size that an initialization would give them."""
    ones = np.ones((1, 4), np.int32)
    shapes = jax.eval_shape(lambda: Transformer(MODEL).init(jax.random.key(0), ones, ones))
    rng = np.random.RandomState(7)
    return jax.tree.map(
        lambda s: (rng.standard_normal(s.shape) * s.shape[-1] ** -0.5).astype(np.float32),
        shapes["params"],
    )


def packed_batch() -> Batch:
    """Two rows of two and three examples, with padding."""
    rng = np.random.RandomState(8)
    arrays = {name: np.zeros((2, 32), np.int32) for name in Batch._fields}
    for row, lengths in enumerate([[(5, 3), (9, 6)], [(2, 1), (6, 4), (11, 5)]]):
        at = 0
        for segment, (inputs, targets) in enumerate(lengths, 1):
            text, place = rng.randint(2, 60, inputs + targets), slice(at, at + inputs + targets)
            arrays["targets"][row, place] = text
            arrays["tokens"][row, place] = [0, *text[:-1]]
            arrays["positions"][row, place] = np.arange(len(text))
            arrays["segment_ids"][row, place] = segment
            arrays["loss_weights"][row, at + inputs : place.stop] = 1
            at = place.stop
    return Batch(**arrays)._replace(loss_weights=arrays["loss_weights"].astype(np.float32))


def t5x_adafactor(name: str) -> dict[str, np.ndarray]:
    """T5X's parameters after 1 and after STEPS updates, thinned, and its learning rates."""
    from jax.sharding import PartitionSpec
    from t5x import adafactor, utils

    config, arguments, schedule = VARIANTS[name]
    if config.factored:
        rules = {"logical_factor_rules": adafactor.standard_logical_factor_rules()}
    else:
        # T5X's own `factored=False` would mix the layers of a stack.
        batch, none = adafactor.FactorDim.BATCH, adafactor.FactorDim.NONE
        by_path = [("kernel", (batch, none, none)), ("layers.*scale", (batch, none)), ("", None)]
        rules = {"factor_map": adafactor.HParamMap(by_path)}
    optimizer = adafactor.Adafactor(**rules, **arguments)
    is_axes = lambda x: isinstance(x, tuple)  # noqa: E731
    optimizer.set_param_axes(jax.tree.map(lambda a: PartitionSpec(*a), AXES, is_leaf=is_axes))
    settings = {
        "factors": "constant",
        "base_learning_rate": config.learning_rate,
        "step_offset": -1,
        **schedule,
    }
    rate = utils.create_learning_rate_scheduler(**settings)
    state = optimizer.create(start())
    found = {"rates": np.array([rate(step) for step in range(STEPS)], np.float32)}
    for step in range(STEPS):
        state = state.apply_gradient(gradient(step), learning_rate=rate(step))
        if step in (0, STEPS - 1):
            for path, values in thinned(state.target).items():
                found[f"{step + 1}/{path}"] = values
    return found


def t5x_loss(name: str) -> dict[str, np.ndarray]:
    """T5X's loss of the packed batch, summed over its target tokens."""
    import seqio
    from t5x import adafactor, models

    config, batch = LOSSES[name], packed_batch()
    model = models.DecoderOnlyModel(
        module=Transformer(MODEL),
        vocabulary=seqio.PassThroughVocabulary(MODEL.vocab_size),
        optimizer_def=adafactor.Adafactor(),
        z_loss=config.z_loss,
        label_smoothing=config.label_smoothing,
    )
    features = {
        "decoder_input_tokens": batch.tokens,
        "decoder_target_tokens": batch.targets,
        "decoder_segment_ids": batch.segment_ids,
        "decoder_positions": batch.positions,
        "decoder_loss_weights": batch.loss_weights,
    }
    loss, _ = model.loss_fn(model_params(), features, dropout_rng=None)
    return {"loss": np.asarray(loss)}


def main() -> None:
    found = {}
    for name in VARIANTS:
        found |= {f"{name}/{key}": value for key, value in t5x_adafactor(name).items()}
    for name in LOSSES:
        found |= {f"{name}/{key}": value for key, value in t5x_loss(name).items()}
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **found)
    print(f"{GOLDEN}: {len(found)} arrays, {GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
