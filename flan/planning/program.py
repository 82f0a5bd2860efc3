"""The real train step of a run, compiled for devices that need not exist."""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version

from flan import partitioning
from flan.data.batch import Batch, row_length
from flan.data.packing import target_limit
from flan.models.config import ModelConfig
from flan.models.flops import train_step_flops
from flan.partitioning import MeshConfig
from flan.training.data import InstructionData
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.run import RunConfig
from flan.training.seqio_data import SeqioData
from flan.training.state import TrainState, abstract_state
from flan.training.step import StepConfig, make_train_step

# Of all tokens of FLAN's mixture: 188 target tokens in a mean row of 1280.
_TARGET_SHARE = 188 / 1280
_DEFAULT_VOCABULARY = 32_000
_NEEDED = re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Work:
    """What is trained, on whatever devices.

    Attributes:
      model: the network, its vocabulary size set.
      optimizer: its settings.
      step: loss terms and microbatches.
      mesh: devices along each axis, and the rules.
      rows, length: shape of a batch.
      max_targets: loss positions of a row at most, or None.
      steps: gradient steps of the run.
    """

    model: ModelConfig
    optimizer: OptimizerConfig
    step: StepConfig
    mesh: MeshConfig
    rows: int
    length: int
    max_targets: int | None
    steps: int

    @property
    def tokens(self) -> int:
        """Tokens of a batch."""
        return self.rows * self.length

    @property
    def rule_flops(self) -> float:
        """6 x parameters x tokens, and 2 more where each layer is computed twice (remat)."""
        return (8 if self.model.remat == "full" else 6) * self.model.num_parameters * self.tokens

    @property
    def model_flops(self) -> float:
        """Matrix operations that the network's shapes ask for, no matter where they are done.

        `train_step_flops`, and with full remat the layers' forward pass once more, but for
        the last product of each, which no gradient needs.
        """
        model = self.model
        flops = train_step_flops(model, self.rows, self.length, self.max_targets)
        if model.remat == "full":
            bare = dataclasses.replace(model, vocab_size=0, adapter=None)
            last = 2 * self.tokens * model.num_layers * model.d_model * model.d_ff
            flops += train_step_flops(bare, self.rows, self.length) / 3 - last
        return flops


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device.

    Attributes:
      parameters, optimizer: what the state keeps there.
      batch: tokens.
      temporary: activations, gradients and buffers of the step, as the compiler laid them out.
      program: the code.
    """

    parameters: int
    optimizer: int
    batch: int
    temporary: int
    program: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled step: its memory, its text, and how long compiling took (seconds).

    Where the compiler found that it does not fit, `text` is empty and `available` is what a
    device has.
    """

    memory: Memory
    text: str
    mesh_devices: Sequence[Any]
    compile_s: float
    available: int | None = None


def work_of(config: RunConfig) -> Work:
    """What a run's settings ask for; ValueError where they leave the model open.

    The run's data need not exist: the vocabulary is taken to have 32,000 pieces where the
    model says no size, and rows to have as many targets as FLAN's.
    """
    if config.model is None:
        raise ValueError(
            "a plan needs the model's sizes: add --gin_file=configs/models/SIZE.gin "
            "(MODEL=None takes them from a checkpoint, which a plan does not read)"
        )
    model = config.model
    if model.vocab_size == 0:
        model = model.for_vocabulary(_DEFAULT_VOCABULARY)
    model = dataclasses.replace(model, adapter=config.adapter)
    lengths = getattr(config.data, "feature_lengths", None)
    if lengths is None:
        raise ValueError("a plan needs data with feature_lengths (TASK_FEATURE_LENGTHS)")
    length = row_length(sum(lengths.values()), len(model.prompt_ids))
    limit = None
    if isinstance(config.data, InstructionData | SeqioData) and "inputs" in lengths:
        limit = target_limit(length, lengths["targets"], _TARGET_SHARE)
    return Work(
        model,
        config.optimizer,
        config.step,
        config.mesh,
        config.batch_size,
        length,
        limit,
        config.loop.steps,
    )


def check(work: Work, devices: Sequence[Any]) -> None:
    """ValueError unless the mesh, the batch and the model's sizes go together."""
    mesh = partitioning.make_mesh(work.mesh, list(devices))
    parts = work.step.microbatches
    if work.rows % parts:
        raise ValueError(f"a batch of {work.rows} rows cannot be cut into {parts} microbatches")
    partitioning.check_batch(mesh, work.rows // parts)
    abstract_state(work.model, make_optimizer(work.optimizer), mesh, work.mesh)


def state_bytes(work: Work, devices: Sequence[Any]) -> tuple[int, int]:
    """Bytes of (parameters, optimizer and step) on a device; ValueError as `check`."""
    mesh = partitioning.make_mesh(work.mesh, list(devices))
    state = abstract_state(work.model, make_optimizer(work.optimizer), mesh, work.mesh)
    parameters = _device_bytes(state.params)
    return parameters, _device_bytes(state) - parameters


def least_bytes(work: Work, num_devices: int, state: tuple[int, int]) -> int:
    """Bytes that a device needs whatever the compiler does: state, gradients, kept activations.

    Kept are each layer's input, and without full remat what its matrix products give.

    Args:
      work: what is trained.
      num_devices: on so many devices.
      state: its `state_bytes`.
    """
    parameters, optimizer = state
    model = work.model
    gradients = 0  # an adapter's are next to nothing
    if model.adapter is None:
        gradients = parameters * 4 // jnp.dtype(model.param_dtype).itemsize
    data, fsdp, parts = work.mesh.shape(num_devices)
    tokens = work.tokens // work.step.microbatches // (data * fsdp)
    kept = model.d_model
    if model.remat != "full":
        heads = model.d_head * (model.num_heads + 2 * model.kv_heads)
        kept += 2 * model.d_model + (heads + 2 * model.d_ff) // parts
    itemsize = model.compute_dtype.itemsize
    return parameters + optimizer + gradients + model.num_layers * tokens * kept * itemsize


def compile_step(work: Work, devices: Sequence[Any]) -> Program:
    """Compiles the step of `flan train` for the devices; ValueError for impossible shapes."""
    check(work, devices)
    mesh = partitioning.make_mesh(work.mesh, list(devices))
    tx = make_optimizer(work.optimizer)
    state = abstract_state(work.model, tx, mesh, work.mesh)
    batch = _abstract_batch(work, mesh)
    began = time.perf_counter()
    step = make_train_step(work.model, tx, work.step, mesh, work.mesh, work.max_targets)
    lowered = step.lower(state, batch)
    parameters = _device_bytes(state.params)
    optimizer = _device_bytes(state) - parameters
    placed = list(mesh.devices.flat)
    try:
        compiled, text = _compiled(lowered, devices)
    except jax.errors.JaxRuntimeError as error:
        needed = _NEEDED.search(str(error))
        if not needed:
            raise
        total, available = _size(needed[1], needed[2]), _size(needed[3], needed[4])
        rest = total - parameters - optimizer - _device_bytes(batch)
        memory = Memory(parameters, optimizer, _device_bytes(batch), max(0, rest), 0)
        return Program(memory, "", placed, time.perf_counter() - began, available)
    elapsed = time.perf_counter() - began
    stats = compiled.memory_analysis()
    assert stats is not None, "this backend tells no memory"
    assert text is not None, "this backend tells no text"
    fresh = stats.output_size_in_bytes - stats.alias_size_in_bytes
    memory = Memory(
        parameters,
        optimizer,
        _device_bytes(batch),
        stats.temp_size_in_bytes + max(0, fresh),
        stats.generated_code_size_in_bytes,
    )
    return Program(memory, text, placed, elapsed)


def _is_tpu(devices: Sequence[Any]) -> bool:
    return bool(getattr(devices[0], "platform", "") == "tpu")


def _compiled(lowered: Any, devices: Sequence[Any]) -> tuple[Any, str | None]:
    """A compiled step and its text, libtpu's own: jaxlib cannot read every program of it."""
    with tempfile.TemporaryDirectory() as dump:
        printed = {"xla_dump_to": dump, "xla_dump_hlo_as_text": True, "xla_dump_hlo_pass_re": ""}
        compiled = lowered.compile(compiler_options=printed if _is_tpu(devices) else None)
        return compiled, _text(compiled, Path(dump))


def _text(compiled: Any, dump: Path) -> str | None:
    """The optimized program; ValueError where neither the compiler nor jaxlib tells it.

    jaxlib 0.10 cannot read some that use the SparseCores of v5p and v6e.
    """
    if printed := list(dump.glob("*.after_optimizations.txt")):
        return max(printed, key=lambda path: path.stat().st_size).read_text(encoding="utf-8")
    try:
        text: str | None = compiled.as_text()
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"the compiled program cannot be read by jaxlib {jaxlib.version.__version__} "
            f'({reason}); where libtpu is of another version, pip install "jax[tpu]=='
            f'{jax.__version__}" brings the one that belongs to it'
        ) from error
    return text


def _size(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])


def _abstract_batch(work: Work, mesh: Any) -> Batch:
    sharding = partitioning.batch_sharding(mesh)

    def array(dtype: Any) -> Any:
        return jax.ShapeDtypeStruct((work.rows, work.length), dtype, sharding=sharding)

    ids = {name: array(jnp.int32) for name in Batch._fields if name != "loss_weights"}
    return Batch(**ids, loss_weights=array(jnp.float32))


def _device_bytes(tree: TrainState | Any) -> int:
    """Bytes of abstract arrays on one device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
