"""What lies in a model folder.

checkpoints/<step>/   orbax: `state` (params, optimizer state, step) and `metadata`
model.json            the network's sizes
vocabulary/           a copy of the vocabulary, so that the folder is enough to evaluate
config.gin            the operative gin configuration
receipt.json          what the mixture consists of
training_data.json    which datasets, rows and templates it and what it started from read
training_rows.npz     prints of these rows, to look others up
damaged/              checkpoints that could not be read and were set aside
metrics.jsonl         one line for each logged step
tensorboard/          the same as TensorBoard events
wandb_id              its run at Weights & Biases, where it has one
profile/              profiler traces, where they were asked for
bad_batch_<step>.npz  the batch that a loss of NaN came from
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from flan.data import atomic
from flan.json_file import read_object
from flan.models.config import ModelConfig

CHECKPOINTS = "checkpoints"
DAMAGED = "damaged"
MODEL_FILE = "model.json"
VOCABULARY = "vocabulary"
CONFIG_FILE = "config.gin"
RECEIPT_FILE = "receipt.json"
METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"
PROFILE = "profile"
WANDB_FILE = "wandb_id"


def write_model_config(model_dir: Path, config: ModelConfig) -> None:
    """Writes `model.json`."""
    text = json.dumps(config.to_json(), indent=2) + "\n"
    atomic.write_file(model_dir / MODEL_FILE, text.encode())


def read_model_config(model_dir: Path) -> ModelConfig:
    """The config in `model.json`; ValueError or FileNotFoundError if there is no sound one."""
    path = model_dir / MODEL_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{model_dir} has no {MODEL_FILE}: expected a model folder as `flan train` writes it"
        )
    values = read_object(path)
    try:
        return ModelConfig.from_json(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def copy_vocabulary(vocabulary: Path, model_dir: Path) -> None:
    """Puts a copy of a vocabulary folder beside the checkpoints, once."""
    target = model_dir / VOCABULARY
    if target.is_dir() or vocabulary.resolve() == target.resolve():
        return
    with atomic.new_folder(target) as folder:
        shutil.copytree(vocabulary, folder, dirs_exist_ok=True)


def split_step(path: Path) -> tuple[Path, int | None]:
    """A model folder, or one of its checkpoints, -> (model folder, step or None)."""
    if path.name.isdigit() and path.parent.name == CHECKPOINTS:
        return path.parent.parent, int(path.name)
    return path, None
