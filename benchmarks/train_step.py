"""Tokens a second of our training step beside T5X's and a PyTorch/transformers one.

  python benchmarks/train_step.py                      8 layers, d_model 512, 2 rows of 1280
  python benchmarks/train_step.py --shape smollm2      SmolLM2-135M's shape, 1 row of 1280

All steps live in one process and take turns, so that a busy machine slows each alike; the
median of the rounds counts. What cannot be imported is left out, and said. A step is forward,
backward and update, with fresh parameters and random tokens; ours computes logits at the 384
places of a row that FLAN's packing leaves for targets, as it does in training, and `all
logits` at every place, as the others do.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from flan.data.batch import Batch
from flan.models.config import ModelConfig
from flan.models.flops import peak_flops, train_step_flops
from flan.models.loss import LossConfig
from flan.partitioning import MeshConfig, make_mesh
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.state import create_state
from flan.training.step import StepConfig, make_train_step, put_batch

LENGTH, TARGETS = 1280, 384
SHAPES = {
    "small": ModelConfig(
        vocab_size=32_000, num_layers=8, d_model=512, num_heads=8, d_head=64, d_ff=1024
    ),
    "smollm2": ModelConfig(
        vocab_size=49_152,
        num_layers=30,
        d_model=576,
        num_heads=9,
        num_kv_heads=3,
        d_head=64,
        d_ff=1536,
        positions="rope",
        activation="silu",
        tie_embeddings=True,
        scale_attention=True,
        norm_epsilon=1e-5,
    ),
}
DTYPES = ["float32", "bfloat16"]
ROWS = {"small": 2, "smollm2": 1}
Step = Callable[[], Any]


def random_batch(model: ModelConfig, rows: int) -> Batch:
    """Full rows of four examples; loss on `TARGETS` places of each row."""
    rng = np.random.default_rng(0)
    targets = rng.integers(2, model.vocab_size, (rows, LENGTH)).astype(np.int32)
    places = np.broadcast_to(np.arange(LENGTH, dtype=np.int32), (rows, LENGTH))
    quarter = LENGTH // 4
    return Batch(
        tokens=np.roll(targets, 1, axis=1),
        targets=targets,
        positions=places % quarter,
        segment_ids=places // quarter + 1,
        loss_weights=(places % quarter >= quarter - TARGETS // 4).astype(np.float32),
    )


def ours(model: ModelConfig, rows: int, dtype: str, max_targets: int | None) -> Step:
    model = dataclasses.replace(model, dtype=dtype)
    config = MeshConfig(1)
    mesh = make_mesh(config, jax.devices()[:1])
    tx = make_optimizer(OptimizerConfig())
    state = create_state(model, tx, 0, mesh, config)
    step = make_train_step(model, tx, StepConfig(), mesh, config, max_targets)
    batch = put_batch(random_batch(model, rows), mesh)

    def take() -> None:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    return take


def engine_step(model: ModelConfig, rows: int, dtype: str) -> Step:
    """Our network in T5X, as `flan train --engine=t5x` has it."""
    from flan.engines.t5x_train import model as t5x_model

    network = dataclasses.replace(model, dtype=dtype)
    config = OptimizerConfig(learning_rate=3e-5)
    return _t5x_step(t5x_model(network, config, LossConfig()), model, rows)


def t5x_step(model: ModelConfig, rows: int, dtype: str) -> Step:
    """T5X's own example network."""
    import seqio
    from t5x import adafactor, models
    from t5x.examples.decoder_only import network

    config = network.TransformerConfig(
        vocab_size=model.vocab_size,
        dtype=dtype,
        emb_dim=model.d_model,
        num_heads=model.num_heads,
        num_layers=model.num_layers,
        head_dim=model.d_head,
        mlp_dim=model.d_ff,
        mlp_activations=("gelu", "linear"),
        dropout_rate=0.0,
    )
    t5x_model = models.DecoderOnlyModel(
        module=network.DecoderWrapper(config),
        vocabulary=seqio.PassThroughVocabulary(model.vocab_size),
        optimizer_def=adafactor.Adafactor(
            logical_factor_rules=adafactor.standard_logical_factor_rules()
        ),
    )
    return _t5x_step(t5x_model, model, rows)


def _t5x_step(t5x_model: Any, model: ModelConfig, rows: int) -> Step:
    data = random_batch(model, rows)
    batch = {
        "decoder_input_tokens": data.tokens,
        "decoder_target_tokens": data.targets,
        "decoder_loss_weights": data.loss_weights,
        "decoder_segment_ids": data.segment_ids,
        "decoder_positions": data.positions,
    }
    key = jax.random.key(0)
    shapes = {name: array.shape for name, array in batch.items()}
    variables = t5x_model.get_initial_variables(key, shapes)
    t5x_model.optimizer_def.set_param_axes(_axes(variables["params_axes"]))
    optimizer = t5x_model.optimizer_def.create(variables["params"])

    @jax.jit
    def step(optimizer: Any) -> Any:
        gradient = jax.grad(lambda p: t5x_model.loss_fn(p, batch, None)[0])
        return optimizer.apply_gradient(gradient(optimizer.target), learning_rate=3e-5)

    def take() -> None:
        nonlocal optimizer
        optimizer = step(optimizer)
        jax.block_until_ready(optimizer.state)

    return take


def _axes(params_axes: Any) -> Any:
    from flax.linen.partitioning import get_axis_names

    return get_axis_names(params_axes)


def torch_step(model: ModelConfig, rows: int, dtype: str) -> Step:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=model.vocab_size,
        hidden_size=model.d_model,
        intermediate_size=model.d_ff,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_heads,
        num_key_value_heads=model.kv_heads,
        head_dim=model.d_head,
        tie_word_embeddings=model.tie_embeddings,
        use_cache=False,
    )
    network = LlamaForCausalLM(config).to(getattr(torch, dtype))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-5)
    tokens = torch.from_numpy(random_batch(model, rows).targets.astype(np.int64))

    def take() -> None:
        network(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return take


def contestants(shape: str, rows: int, dtypes: list[str]) -> dict[str, Step]:
    """Those that can run here, compiled and warm."""
    model = SHAPES[shape]
    makers: dict[str, Callable[[], Step]] = {}
    for dtype in dtypes:
        makers[f"flan {dtype}"] = lambda d=dtype: ours(model, rows, d, TARGETS)
        makers[f"flan {dtype}, all logits"] = lambda d=dtype: ours(model, rows, d, None)
        if shape == "small":
            makers[f"t5x {dtype}, our network"] = lambda d=dtype: engine_step(model, rows, d)
            makers[f"t5x {dtype}"] = lambda d=dtype: t5x_step(model, rows, d)
        makers[f"transformers {dtype}"] = lambda d=dtype: torch_step(model, rows, d)
    steps: dict[str, Step] = {}
    for name, make in makers.items():
        needed = {"t5x": ("t5x",), "transformers": ("torch", "transformers")}.get(name.split()[0])
        missing = [m for m in needed or () if importlib.util.find_spec(m) is None]
        if missing:
            print(f"{name}: left out, {', '.join(missing)} cannot be imported")
            continue
        began = time.perf_counter()
        steps[name] = make()
        steps[name]()
        print(f"{name}: ready in {time.perf_counter() - began:.0f} s", flush=True)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rows", type=int, help="of a batch; 2 or 1 by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES, help="of compute")
    args = parser.parse_args()
    rows = args.rows or ROWS[args.shape]
    steps = contestants(args.shape, rows, args.dtypes)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    peak = peak_flops(jax.devices()[0].device_kind)
    first = statistics.median(next(iter(seconds.values())))
    print(f"{args.shape}: {rows} x {LENGTH} tokens, median of {args.rounds} rounds")
    for name, times in seconds.items():
        median = statistics.median(times)
        places = TARGETS if name.startswith("flan") and "all" not in name else None
        rate = train_step_flops(SHAPES[args.shape], rows, LENGTH, places) / median
        share = f", {rate / peak:.1%} of peak" if peak else ""
        print(
            f"  {name:<28} {rows * LENGTH / median:9.0f} tokens/s  {rate / 1e9:7.0f} GFLOP/s{share}"
            f"  {first / median:5.2f} x {next(iter(seconds))}"
        )


if __name__ == "__main__":
    main()
