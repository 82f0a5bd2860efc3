"""Model FLOPs of a training step, by formula, and what devices can do at most."""

from __future__ import annotations

from flan.models.config import ModelConfig

# Dense bfloat16 (float16 for V100 and T4) FLOP/s of one JAX device, from the makers' data
# sheets. A TPU v2 or v3 chip is two devices. The first name that a device's kind contains
# counts, so longer names come first.
PEAK_FLOPS: tuple[tuple[str, float], ...] = (
    ("TPU v2", 22.5e12),
    ("TPU v3", 61.5e12),
    ("TPU v4", 275e12),
    ("TPU v5 lite", 197e12),
    ("TPU v5e", 197e12),
    ("TPU v5p", 459e12),
    ("TPU v5", 459e12),
    ("TPU v6", 918e12),
    ("TPU7x", 1153.5e12),
    ("B200", 2250e12),
    ("H200", 989e12),
    ("GH200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("V100", 125e12),
    ("T4", 65e12),
)


def peak_flops(device_kind: str) -> float | None:
    """Peak FLOP/s of a device by `jax.Device.device_kind`; None for an unknown one, as a CPU."""
    return next((peak for name, peak in PEAK_FLOPS if name in device_kind), None)


def train_step_flops(
    config: ModelConfig, rows: int, length: int, max_targets: int | None = None
) -> float:
    """FLOPs of forward and backward pass over `[rows, length]` places, padding among them.

    Counted are matrix products, at 2 FLOPs for each multiply-add, three times (forward, and
    backward by inputs and weights): those of the parameters, of attention over whole rows
    (as in PaLM's appendix B, arXiv 2204.02311, the causal half is not taken off), and of the
    vocabulary at `max_targets` places of a row (all by default). What rematerialization
    computes again does not count. Of an adapter's frozen network the products by weights
    are not computed, so those of the forward pass and by inputs count.
    """
    attention = config.d_model * config.d_head * 2 * (config.num_heads + config.kv_heads)
    weights = config.num_layers * (attention + 3 * config.d_model * config.d_ff)
    mixing = config.num_layers * 2 * config.num_heads * config.d_head * length
    places = length if max_targets is None else min(max_targets, length)
    frozen = length * weights + places * config.d_model * config.vocab_size
    if config.adapter is None:
        return 3.0 * 2.0 * rows * (frozen + length * mixing)
    adapted = length * (mixing + (0 if config.prompt_ids else config.num_trained))
    return 2.0 * rows * (2 * frozen + 3 * adapted)
