"""A training run from its settings: vocabulary, data, model, state, loop."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from flan import partitioning
from flan.checkpoints import layout
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.data import atomic
from flan.data.receipt import Receipt
from flan.data.vocabulary import load_vocabulary
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig
from flan.training.loop import BatchSource, LoopConfig, train_loop
from flan.training.metrics import MetricsWriter
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.receipts import record_observed, write_receipt
from flan.training.resume import OnDamaged, another, metadata_before, restore_newest
from flan.training.start import (
    check_initial,
    choose_model,
    choose_vocabulary,
    with_initial_params,
)
from flan.training.state import TrainState, abstract_state, create_state
from flan.training.step import StepConfig, make_train_step

log = logging.getLogger("flan")


class OpenData(BatchSource, Protocol):
    """Batches, and what is known of them."""

    @property
    def max_targets(self) -> int | None:
        """Most loss positions in any row, or None where a row may be all loss."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the batches."""

    @property
    def receipt(self) -> Receipt | None:
        """What the mixture consists of; None where there is nothing to tell."""

    def observe(self, steps: int | None = None) -> Receipt:
        """The receipt with what the first `steps` steps read; not called without a receipt."""


class DataConfig(Protocol):
    """Settings of a run's data."""

    def vocabulary(self, folder: str | None) -> Path:
        """The vocabulary to use: `folder`, or one made from the data where it is None."""

    def open(
        self, vocabulary_dir: Path, batch_size: int, steps: int, seed: int, host: int, hosts: int
    ) -> OpenData:
        """Prepares what is missing and opens it."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All settings of a run.

    Attributes:
      model_dir: where checkpoints, logs and the configuration go.
      data: where batches come from.
      model: the network; None takes the initial checkpoint's.
      loop: steps and periods.
      batch_size: rows of a batch, over all devices and hosts.
      optimizer: with its schedule.
      step: loss terms, microbatches.
      mesh: devices along data, fsdp and model.
      initial_checkpoint_path: a model folder (or one of its checkpoints) whose parameters
        the run starts from; step and optimizer start anew.
      vocabulary: a vocabulary folder; by default the initial checkpoint's, else one that
        is trained on the data.
      seed: of initialization, data order and dropout.
      on_damaged: a damaged newest checkpoint is refused (`error`), or set aside to go on
        from the newest sound one (`previous`).
    """

    model_dir: str
    data: DataConfig
    loop: LoopConfig
    model: ModelConfig | None = None
    batch_size: int = 8
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    step: StepConfig = dataclasses.field(default_factory=StepConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    initial_checkpoint_path: str | None = None
    vocabulary: str | None = None
    seed: int = 0
    on_damaged: OnDamaged = "error"

    def __post_init__(self) -> None:
        if self.on_damaged not in ("error", "previous"):
            raise ValueError(f"ON_DAMAGED must be 'error' or 'previous', got {self.on_damaged!r}")


def run(config: RunConfig, operative_config: Callable[[], str] | None = None) -> TrainState:
    """Trains, going on where a run in the same folder left off.

    Args:
      config: the run's settings.
      operative_config: gives the text kept as `config.gin` and in each checkpoint.

    Returns:
      The final state.

    Raises:
      ValueError, FileNotFoundError: settings that cannot be carried out; nothing has been
        written to the model folder then.
      Preempted, NonFiniteLossError: see `train_loop`.
    """
    quiet_orbax()
    model_dir = Path(config.model_dir).expanduser()
    tx = make_optimizer(config.optimizer)
    mesh = partitioning.make_mesh(config.mesh)
    partitioning.check_batch(mesh, config.batch_size)
    part = config.batch_size // config.step.microbatches
    if config.batch_size % config.step.microbatches:
        raise ValueError(
            f"a batch of {config.batch_size} rows cannot be cut into "
            f"{config.step.microbatches} microbatches; make BATCH_SIZE a multiple"
        )
    partitioning.check_batch(mesh, part)
    initial = _path(config.initial_checkpoint_path)
    wanted = choose_model(config.model, initial)

    vocabulary_dir = choose_vocabulary(
        config.vocabulary, model_dir, initial, config.data.vocabulary
    )
    vocabulary = load_vocabulary(vocabulary_dir)
    model_config = wanted.for_vocabulary(vocabulary.vocab_size)
    abstract = abstract_state(model_config, tx, mesh, config.mesh)
    optimizer = dataclasses.asdict(config.optimizer)
    before = metadata_before(
        model_dir, model_config, vocabulary, optimizer, abstract, config.on_damaged
    )
    if initial:
        check_initial(initial, model_config, vocabulary)

    data = config.data.open(
        vocabulary_dir,
        config.batch_size,
        config.loop.steps,
        config.seed,
        jax.process_index(),
        jax.process_count(),
    )
    if before is not None and before.get("data_fingerprint") != data.fingerprint:
        raise another(model_dir, "data (mixture, templates, lengths, batch size or seed)")
    metadata = {
        "seed": config.seed,
        "data_fingerprint": data.fingerprint,
        "receipt_hash": data.receipt.hash if data.receipt is not None else None,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "initial_checkpoint_path": config.initial_checkpoint_path,
        "model": model_config.to_json(),
        "optimizer": optimizer,
        "gin": operative_config() if operative_config else "",
    }

    # A fresh state is made before the model folder: the initial checkpoint may be unreadable.
    state = None
    if before is None:
        state = create_state(model_config, tx, config.seed, mesh, config.mesh)
        if initial:
            state = with_initial_params(state, initial)
    manager = CheckpointManager(model_dir, keep=config.loop.keep)
    try:
        if state is None:
            state = restore_newest(manager, abstract, config.on_damaged)
            log.info("resuming %s at step %d", model_dir, int(state.step))
        first = int(state.step)
        if first >= config.loop.steps:
            log.warning("%s has reached step %d already: nothing to do", model_dir, first)
        else:
            _describe(config, model_dir, model_config, vocabulary_dir, data, metadata, mesh, first)
            step = make_train_step(
                model_config, tx, _seeded(config), mesh, config.mesh, data.max_targets
            )
            writer = MetricsWriter(model_dir, start_step=first)
            try:
                state = train_loop(state, step, data, config.loop, mesh, manager, writer, metadata)
            finally:
                writer.close()
        # Also where nothing was left to do: a kill may have come before this line.
        if data.receipt is not None and jax.process_index() == 0:
            record_observed(model_dir, data.observe(int(state.step)))
        return state
    finally:
        manager.close()


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _seeded(config: RunConfig) -> StepConfig:
    return dataclasses.replace(config.step, seed=config.seed)


def _describe(
    config: RunConfig,
    model_dir: Path,
    model_config: ModelConfig,
    vocabulary_dir: Path,
    data: OpenData,
    metadata: dict[str, Any],
    mesh: Mesh,
    first: int,
) -> None:
    """Writes what belongs beside the checkpoints, and says what is about to run."""
    if jax.process_index() == 0:
        layout.write_model_config(model_dir, model_config)
        layout.copy_vocabulary(vocabulary_dir, model_dir)
        atomic.write_file(model_dir / layout.CONFIG_FILE, metadata["gin"].encode())
        if data.receipt is not None:
            write_receipt(model_dir, data.receipt)
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items() if size > 1)
    log.info(
        "%s parameters, %s, steps %d to %d, %d rows a batch, in %s",
        f"{model_config.num_parameters:,}",
        f"mesh {shape}" if shape else "one device",
        first,
        config.loop.steps,
        config.batch_size,
        model_dir,
    )
