"""A training run from its settings: vocabulary, data, model, state, loop."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from flan import partitioning, processes
from flan.checkpoints import layout
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.checkpoints.record import METADATA as RECORD
from flan.data import atomic
from flan.data.vocabulary import load_vocabulary
from flan.models.config import ModelConfig
from flan.models.flops import peak_flops, train_step_flops
from flan.training.dev import Evaluate, make_evaluation
from flan.training.loop import train_loop
from flan.training.metrics import MetricsWriter
from flan.training.optimizer import make_optimizer, make_schedule
from flan.training.receipts import is_recorded, record_observed, write_receipt
from flan.training.resume import another, metadata_before, restore_newest, start_to_keep
from flan.training.settings import OpenData, RunConfig, WithDevRows
from flan.training.start import (
    check_initial,
    choose_model,
    choose_vocabulary,
    start_of,
    with_initial_params,
)
from flan.training.state import TrainState, abstract_state, create_state
from flan.training.step import StepConfig, make_train_step
from flan.training.training_data import WithRecord, new_record
from flan.training.wandb_log import open_wandb
from flan.training.window import Reporting

log = logging.getLogger("flan")


def run(
    config: RunConfig,
    operative_config: Callable[[], str] | None = None,
    loop: Callable[..., TrainState] = train_loop,
) -> TrainState:
    """Trains, going on where a run in the same folder left off.

    Args:
      config: the run's settings.
      operative_config: gives the text kept as `config.gin` and in each checkpoint.
      loop: takes the steps; called as `train_loop` is.

    Returns:
      The final state.

    Raises:
      ValueError, FileNotFoundError: settings that cannot be carried out; nothing has been
        written to the model folder then.
      Preempted, NonFiniteLossError: see `train_loop`.
    """
    quiet_orbax()
    wandb = open_wandb(config.wandb_project)
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
    wanted = choose_model(config.model, config.over_model, config.adapter, model_dir, initial)

    vocabulary_dir = choose_vocabulary(
        config.vocabulary, model_dir, initial, config.data.vocabulary
    )
    vocabulary = load_vocabulary(vocabulary_dir)
    model_config = wanted.for_vocabulary(vocabulary.vocab_size)
    abstract = abstract_state(model_config, tx, mesh, config.mesh)
    settings = {
        "optimizer": dataclasses.asdict(config.optimizer),
        "objective": _objective(config, model_config),
    }
    before = metadata_before(
        model_dir,
        model_config,
        vocabulary,
        settings,
        config.loop.steps,
        abstract,
        config.on_damaged,
    )
    start = None
    if before is not None:
        start = start_to_keep(model_dir, before, config.initial_checkpoint_path)
    # A run that goes on has all it needs, though its initial checkpoint may be gone.
    elif initial:
        check_initial(initial, model_config, vocabulary)
        start = start_of(initial)

    data = config.data.open(
        vocabulary_dir,
        config.batch_size,
        config.loop.steps,
        config.seed,
        *processes.share_of_rows(mesh, config.batch_size),
        prefix=model_config.prompt_ids,
    )
    processes.check_same("data", data.fingerprint)
    if before is not None and before.get("data_fingerprint") != data.fingerprint:
        raise another(model_dir, "data (mixture, templates, lengths, batch size or seed)")
    evaluate = _evaluation(config, model_config, vocabulary_dir, mesh)
    metadata = {
        "seed": config.seed,
        "data_fingerprint": data.fingerprint,
        "receipt_hash": data.receipt.hash if data.receipt is not None else None,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "initial_checkpoint_path": config.initial_checkpoint_path,
        "initial": start,
        "model": model_config.to_json(),
        **settings,
        "gin": operative_config() if operative_config else "",
    }
    record = None
    if processes.is_first():
        reading = None
        if isinstance(config.data, WithRecord):
            reading = config.data.reading(config.loop.steps, data.fingerprint)
        record = new_record(model_dir, initial, reading, f"the data of {model_dir.name}")

    # A fresh state is made before the model folder: the initial checkpoint may be unreadable.
    state = None
    if before is None:
        state = create_state(model_config, tx, config.seed, mesh, config.mesh)
        if initial:
            state = with_initial_params(
                state,
                initial,
                model_config,
                mesh,
                config.mesh,
                vocab_size=vocabulary.vocab_size,
                seed=config.seed,
            )
    manager = CheckpointManager(model_dir, keep=config.loop.keep, keep_best=config.loop.keep_best)
    try:
        if state is None:
            state = restore_newest(manager, abstract, config.on_damaged)
            log.info("resuming %s at step %d", model_dir, int(state.step))
        first = int(state.step)
        if first >= config.loop.steps:
            log.warning("%s has reached step %d already: nothing to do", model_dir, first)
        else:
            if record is not None:
                metadata[RECORD] = record.write(model_dir).to_json()
            _describe(config, model_dir, model_config, vocabulary_dir, data, metadata, mesh, first)
            step = make_train_step(
                model_config, tx, seeded(config), mesh, config.mesh, data.max_targets
            )
            writer = MetricsWriter(model_dir, start_step=first, wandb=wandb)
            try:
                state = loop(
                    state,
                    step,
                    data,
                    config.loop,
                    mesh,
                    manager,
                    writer,
                    metadata,
                    batch_size=config.batch_size,
                    reporting=_reporting(config, model_config, data, mesh),
                    evaluate=evaluate,
                )
            finally:
                writer.close()
        # Also where nothing was left to do: a kill may have come before this line.
        if data.receipt is not None and processes.is_first():
            done = int(state.step)
            if not is_recorded(model_dir, data.receipt, done):  # a stream is long to count again
                record_observed(model_dir, data.observe(done))
        return state
    finally:
        manager.close()


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _objective(config: RunConfig, model_config: ModelConfig) -> dict[str, Any]:
    """What a step makes smaller, for a run's metadata."""
    return {
        **dataclasses.asdict(config.step.loss),
        "prefix_lm": config.step.prefix_lm,
        "dropout_rate": model_config.dropout_rate,
    }


def seeded(config: RunConfig) -> StepConfig:
    """The settings of a step, whose dropout has the run's seed where it has none of its own."""
    own = config.step.seed
    return dataclasses.replace(config.step, seed=config.seed if own is None else own)


def _evaluation(
    config: RunConfig, model_config: ModelConfig, vocabulary_dir: Path, mesh: Mesh
) -> Evaluate | None:
    """The scores on dev rows, where the run evaluates and its data has such rows."""
    if not config.loop.evaluates:
        return None
    examples = None
    if isinstance(config.data, WithDevRows):
        examples = config.data.open_dev(vocabulary_dir, config.eval_rows, config.seed)
    if examples is None:
        if config.loop.keep_best:
            raise ValueError("KEEP_BEST needs dev rows, and the run's data has none")
        log.warning("the run's data has no dev rows: it is not evaluated while it trains")
        return None
    return make_evaluation(
        examples.after(model_config.prompt_ids),
        model_config,
        mesh,
        config.mesh,
        batch_size=config.batch_size // config.step.microbatches,
        prefix_lm=config.step.prefix_lm,
    )


def _reporting(
    config: RunConfig, model_config: ModelConfig, data: OpenData, mesh: Mesh
) -> Reporting:
    """What the log tells beside a step's metrics."""
    length = data.length
    peak = peak_flops(mesh.devices.flat[0].device_kind)
    return Reporting(
        config.loop.steps,
        make_schedule(config.optimizer),
        train_step_flops(model_config, config.batch_size, length, data.max_targets),
        None if peak is None else peak * mesh.size,
    )


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
    if processes.is_first():
        layout.write_model_config(model_dir, model_config)
        layout.copy_vocabulary(vocabulary_dir, model_dir)
        atomic.write_file(model_dir / layout.CONFIG_FILE, metadata["gin"].encode())
        if data.receipt is not None:
            write_receipt(model_dir, data.receipt)
    warn_of_rounding(model_config)
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items() if size > 1)
    log.info(
        "%s parameters, %s, steps %d to %d, %d rows a batch, in %s",
        _counted(model_config),
        f"mesh {shape}" if shape else "one device",
        first,
        config.loop.steps,
        config.batch_size,
        model_dir,
    )


def warn_of_rounding(model_config: ModelConfig) -> None:
    """Warns where parameters that train are kept in bfloat16; docs/decisions.md has figures."""
    if model_config.param_dtype == "bfloat16" and model_config.adapter is None:
        log.warning(
            "*** param_dtype is bfloat16: updates far smaller than a parameter are rounded away. At "
            "a learning rate of 3e-5 most of them are. --gin.ModelConfig.param_dtype=float32 keeps "
            "them, and dtype=bfloat16 computes as fast with it ***"
        )


def _counted(model_config: ModelConfig) -> str:
    """How many parameters there are, and how many of them train where not all do."""
    total = model_config.num_parameters
    if model_config.adapter is None:
        return f"{total:,}"
    trained = model_config.num_trained
    return f"{trained:,} ({trained / total:.3%}) of {total:,}"
