"""A training run from its settings: vocabulary, data, model, state, loop."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from flan import partitioning
from flan.checkpoints import layout
from flan.checkpoints.manager import (
    CheckpointError,
    CheckpointManager,
    check_same_model,
    quiet_orbax,
    split_step,
)
from flan.data.vocabulary import Vocabulary, load_vocabulary
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig
from flan.training.loop import BatchSource, LoopConfig, train_loop
from flan.training.metrics import MetricsWriter
from flan.training.optimizer import OptimizerConfig, make_optimizer
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
    def receipt(self) -> Any:
        """What the mixture consists of: has `to_json()`; None for raw text."""


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
    model_dir = Path(config.model_dir)
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
    wanted = _model_config(config)

    vocabulary_dir = _vocabulary_dir(config, model_dir)
    vocabulary = load_vocabulary(vocabulary_dir)
    model_config = wanted.for_vocabulary(vocabulary.vocab_size)
    if (model_dir / layout.MODEL_FILE).is_file():
        check_same_model(layout.read_model_config(model_dir), model_config, model_dir)
    if config.initial_checkpoint_path:
        source, _ = split_step(Path(config.initial_checkpoint_path))
        check_same_model(layout.read_model_config(source), model_config, source)

    data = config.data.open(
        vocabulary_dir,
        config.batch_size,
        config.loop.steps,
        config.seed,
        jax.process_index(),
        jax.process_count(),
    )
    metadata = {
        "seed": config.seed,
        "data_fingerprint": data.fingerprint,
        "receipt_hash": data.receipt.hash if data.receipt is not None else None,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "initial_checkpoint_path": config.initial_checkpoint_path,
        "model": model_config.to_json(),
        "gin": operative_config() if operative_config else "",
    }

    manager = CheckpointManager(model_dir, keep=config.loop.keep)
    try:
        state = _start(config, model_config, tx, mesh, manager, vocabulary, metadata)
        first = int(state.step)
        _describe(config, model_config, vocabulary_dir, data, metadata, mesh, first)
        if first >= config.loop.steps:
            log.warning("%s has reached step %d already: nothing to do", model_dir, first)
            return state
        step = make_train_step(
            model_config, tx, _seeded(config), mesh, config.mesh, data.max_targets
        )
        writer = MetricsWriter(model_dir, start_step=first)
        try:
            return train_loop(state, step, data, config.loop, mesh, manager, writer, metadata)
        finally:
            writer.close()
    finally:
        manager.close()


def _seeded(config: RunConfig) -> StepConfig:
    return dataclasses.replace(config.step, seed=config.seed)


def _model_config(config: RunConfig) -> ModelConfig:
    """The network that was asked for, or the initial checkpoint's."""
    if config.initial_checkpoint_path:
        source, _ = split_step(Path(config.initial_checkpoint_path))
        if not source.is_dir():
            raise FileNotFoundError(
                f"INITIAL_CHECKPOINT_PATH {config.initial_checkpoint_path}: no such folder"
            )
        found = layout.read_model_config(source)
        if config.model is None:
            return found
        if config.model.vocab_size == 0:
            # The checkpoint's embedding decides; the other sizes are compared below.
            return dataclasses.replace(config.model, vocab_size=found.vocab_size)
        return config.model
    if config.model is None:
        raise ValueError(
            "no model: give --gin_file=configs/models/tiny.gin (or another size), or "
            "--gin.INITIAL_CHECKPOINT_PATH=FOLDER to take the sizes from a checkpoint"
        )
    return config.model


def _vocabulary_dir(config: RunConfig, model_dir: Path) -> Path:
    """The vocabulary asked for, else the one of the resumed run, the initial checkpoint, the data."""
    if config.vocabulary:
        return config.data.vocabulary(config.vocabulary)
    candidates = [model_dir / layout.VOCABULARY]
    if config.initial_checkpoint_path:
        source, _ = split_step(Path(config.initial_checkpoint_path))
        candidates.append(source / layout.VOCABULARY)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    return config.data.vocabulary(None)


def _start(
    config: RunConfig,
    model_config: ModelConfig,
    tx: Any,
    mesh: Mesh,
    manager: CheckpointManager,
    vocabulary: Vocabulary,
    metadata: dict[str, Any],
) -> TrainState:
    """The state to go on from: this folder's newest, the initial checkpoint's, or a fresh one."""
    if manager.steps():
        abstract = abstract_state(model_config, tx, mesh, config.mesh)
        state, before = manager.restore(abstract)
        for key, what in (
            ("vocabulary_fingerprint", "vocabulary"),
            ("data_fingerprint", "data (mixture, lengths, batch size or seed)"),
        ):
            if before.get(key) != metadata[key]:
                raise CheckpointError(
                    f"{config.model_dir} holds a run on another {what}: it cannot be resumed with "
                    "these settings. Use its own settings (config.gin there), or another MODEL_DIR"
                )
        log.info("resuming %s at step %d", config.model_dir, int(state.step))
        return state
    state = create_state(model_config, tx, config.seed, mesh, config.mesh)
    if config.initial_checkpoint_path:
        state = _with_initial_params(state, Path(config.initial_checkpoint_path), vocabulary)
    return state


def _with_initial_params(state: TrainState, path: Path, vocabulary: Vocabulary) -> TrainState:
    source, step = split_step(path)
    abstract = jax.tree.map(
        lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=p.sharding), state.params
    )
    reader = CheckpointManager(source, read_only=True)
    try:
        params, found, before = reader.restore_params(abstract, step)
    finally:
        reader.close()
    stored = before.get("vocabulary_fingerprint")
    if stored and stored != vocabulary.fingerprint:
        raise CheckpointError(
            f"{source} was trained with another vocabulary (fingerprint {stored[:12]}) than the "
            f"run's ({vocabulary.fingerprint[:12]}); leave VOCABULARY unset to use the checkpoint's"
        )
    log.info("starting from %s, step %d", source, found)
    return state._replace(params=params)


def _describe(
    config: RunConfig,
    model_config: ModelConfig,
    vocabulary_dir: Path,
    data: OpenData,
    metadata: dict[str, Any],
    mesh: Mesh,
    first: int,
) -> None:
    """Writes what belongs beside the checkpoints, and says what is about to run."""
    model_dir = Path(config.model_dir)
    layout.write_model_config(model_dir, model_config)
    layout.copy_vocabulary(vocabulary_dir, model_dir)
    layout.write_text(model_dir / layout.CONFIG_FILE, metadata["gin"])
    if data.receipt is not None:
        receipt = json.dumps(data.receipt.to_json(), indent=2, sort_keys=True)
        layout.write_text(model_dir / layout.RECEIPT_FILE, receipt + "\n")
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
