"""What a run starts from: its model, its vocabulary, the checkpoint it takes parameters of.

Nothing here writes: a run that cannot start leaves no trace.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from flan.checkpoints import layout
from flan.checkpoints.inference import restore_merged
from flan.checkpoints.manager import (
    RUNTIME_SETTINGS,
    CheckpointError,
    CheckpointManager,
    check_same_model,
)
from flan.data.vocabulary import Vocabulary
from flan.models.adapters import Adapter, Lora, SoftPrompt
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig
from flan.training.state import TrainState, param_shardings
from flan.training.trainable import join, split

log = logging.getLogger("flan")

# The tokens that a soft prompt's first embeddings are drawn from. A vocabulary's first ones are
# the most frequent (arXiv 2104.08691, section 3.2, draws from so many).
_FREQUENT = 5_000


def choose_model(
    model: ModelConfig | None,
    over: Mapping[str, Any],
    adapter: Adapter | None,
    model_dir: Path,
    initial: Path | None,
) -> ModelConfig:
    """The network that was asked for, with the adapter to train.

    Args:
      model: it; None takes that of the run to go on with, else the initial checkpoint's.
      over: settings laid over what is taken.
      adapter: what is trained; None for all of it.
      model_dir: of the run.
      initial: what it starts from.

    Raises ValueError where there is no network to take, and for settings that it does not have.
    """
    if adapter is not None and initial is None:
        kind = "LoRA" if isinstance(adapter, Lora) else "a soft prompt"
        raise ValueError(
            f"{kind} is trained on a model that has learned something, and there is none: give "
            "--gin.INITIAL_CHECKPOINT_PATH=FOLDER, or --gin.PEFT=None to train all parameters"
        )
    found = _taken(model_dir, initial)
    if model is not None:
        if model.vocab_size == 0 and initial is not None and found is not None:
            # The checkpoint's embedding decides; the other sizes are compared below.
            model = dataclasses.replace(model, vocab_size=found.vocab_size)
    elif found is not None:
        model = _laid_over(found.plain, over)
    else:
        raise ValueError(
            "no model: give --gin_file=configs/models/tiny.gin (or another size), or "
            "--gin.INITIAL_CHECKPOINT_PATH=FOLDER to take the sizes from a checkpoint"
        )
    return dataclasses.replace(model, adapter=adapter)


def _taken(model_dir: Path, initial: Path | None) -> ModelConfig | None:
    """The network of the run's own checkpoints, else of the initial one; None without these."""
    own = model_dir / layout.CHECKPOINTS
    described = own.is_dir() and (model_dir / layout.MODEL_FILE).is_file()
    if described and any(path.name.isdigit() for path in own.iterdir()):
        return layout.read_model_config(model_dir)
    if initial is None:
        return None
    source, _ = layout.split_step(initial)
    if not source.is_dir():
        raise FileNotFoundError(f"INITIAL_CHECKPOINT_PATH {initial}: no such folder")
    return layout.read_model_config(source)


def _laid_over(found: ModelConfig, over: Mapping[str, Any]) -> ModelConfig:
    """A checkpoint's network with other runtime settings; ValueError for other differences."""
    values = {k: v for k, v in over.items() if (k, v) != ("vocab_size", 0)}  # 0: whatever fits
    refused = [
        f"ModelConfig.{name} = {value!r} (it has {getattr(found, name)!r})"
        for name, value in values.items()
        if name not in RUNTIME_SETTINGS and value != getattr(found, name)
    ]
    if refused:
        raise ValueError(
            f"MODEL=None takes the checkpoint's network, which differs: {', '.join(refused)}. Leave "
            "these settings out, or start from another checkpoint"
        )
    return dataclasses.replace(found, **values)


def choose_vocabulary(
    folder: str | None, model_dir: Path, initial: Path | None, make: Callable[[str | None], Path]
) -> Path:
    """The vocabulary asked for, else the one of the resumed run, the initial checkpoint, the data."""
    if folder:
        return make(folder)
    candidates = [model_dir / layout.VOCABULARY]
    if initial:
        source, _ = layout.split_step(initial)
        candidates.append(source / layout.VOCABULARY)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    return make(None)


def check_initial(path: Path, model_config: ModelConfig, vocabulary: Vocabulary) -> None:
    """CheckpointError unless a run of this model and vocabulary can start from a checkpoint."""
    source, step = layout.split_step(path)
    found = layout.read_model_config(source)
    check_same_model(found.plain, model_config.plain, source)
    if found.prompt_ids and found.prompt_ids != model_config.prompt_ids:
        raise CheckpointError(
            f"{source} has a soft prompt of {len(found.prompt_ids)} places, which this run would "
            "lose: start from the model that the prompt was tuned on, or train the prompt on with "
            f"--gin.PEFT=prompt --gin.SoftPrompt.length={len(found.prompt_ids)}"
        )
    reader = CheckpointManager(source, read_only=True)
    try:
        _, metadata = reader.metadata(step)
    finally:
        reader.close()
    stored = metadata.get("vocabulary_fingerprint")
    if stored and stored != vocabulary.fingerprint:
        raise CheckpointError(
            f"{source} was trained with another vocabulary (fingerprint {stored[:12]}) than the "
            f"run's ({vocabulary.fingerprint[:12]}); leave VOCABULARY unset to use the checkpoint's"
        )


def start_of(path: Path) -> dict[str, Any]:
    """Which checkpoint a run starts from: `step`, and `parameters`, a hash of their checksums.

    The hash is None for a checkpoint without checksums. Raises CheckpointError for none.
    """
    source, step = layout.split_step(path)
    reader = CheckpointManager(source, read_only=True)
    try:
        step = reader.pick(step)
        _, arrays = reader.described(step)
    finally:
        reader.close()
    if arrays is None:
        return {"step": step, "parameters": None}
    parameters = sorted((name, v) for name, v in arrays.items() if name.startswith("params/"))
    digest = hashlib.sha256(json.dumps(parameters).encode()).hexdigest()
    return {"step": step, "parameters": digest}


def with_initial_params(
    state: TrainState,
    initial: Path,
    model_config: ModelConfig,
    mesh: Mesh,
    mesh_config: MeshConfig,
    *,
    vocab_size: int,
    seed: int,
) -> TrainState:
    """The state with the parameters of a checkpoint, any LoRA of its merged.

    An adapter that is to be trained stays as it was made; a soft prompt that is to begin
    with embeddings gets some of the first `vocab_size`. Raises CheckpointError where the
    checkpoint cannot be read.
    """
    source, step = layout.split_step(initial)
    stored = dataclasses.replace(
        layout.read_model_config(source), param_dtype=model_config.param_dtype
    )
    reader = CheckpointManager(source, read_only=True)
    try:
        shardings = param_shardings(stored, mesh, mesh_config)
        params, found, number, _ = restore_merged(reader, stored, shardings, step)
    finally:
        reader.close()
    log.info("starting from %s, step %d", source, number)
    if model_config.adapter is not None and not found.prompt_ids:
        params = join(split(model_config, state.params)[0], params)
        adapter = model_config.adapter
        if isinstance(adapter, SoftPrompt) and adapter.init == "vocabulary":
            _draw_prompt(params["token_embedder"], adapter.length, vocab_size, seed)
    return state._replace(params=params)


def _draw_prompt(embedder: dict[str, jax.Array], length: int, vocab_size: int, seed: int) -> None:
    """Puts embeddings of tokens in the place of a soft prompt."""
    ids = np.random.default_rng(seed).integers(0, min(vocab_size, _FREQUENT), length)

    def draw(table: jax.Array) -> jax.Array:
        return jnp.take(table, ids, axis=0).astype(jnp.float32)

    place = embedder["soft_prompt"].sharding
    embedder["soft_prompt"] = jax.jit(draw, out_shardings=place)(embedder["embedding"])
