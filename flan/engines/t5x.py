"""What the gin files of `configs/t5x` take from us: T5X trains our network on our tasks.

T5X (https://github.com/google-research/t5x) is installed by its users, see docs/t5x.md.
Importing this module needs seqio, and with it TensorFlow, but no T5X. It makes our tasks and
mixtures known by name, and what describes a network, so that `configs/models/*.gin` serve here
too.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gin

from flan import gin_edge
from flan.data import seqio_tasks
from flan.data.seqio_vocabulary import SeqioVocabulary
from flan.models.config import ModelConfig
from flan.models.rope_scaling import RopeScaling
from flan.models.transformer import Transformer
from flan.resources import resource_dir

# T5X's entry points, by the module that holds them.
_FUNCTIONS = {"train": "train", "eval": "evaluate", "infer": "infer"}

gin_edge.register({"ModelConfig": ModelConfig, "RopeScaling": RopeScaling})


def vocabulary(
    folder: str | None = None,
    data_dir: str | None = None,
    seed: int = 0,
    skip_missing: bool = False,
) -> SeqioVocabulary:
    """The vocabulary of a folder, which our tasks will use as well, over the data in `data_dir`.

    Args:
      folder: None takes FLAN_VOCABULARY.
      data_dir: the TFDS folder; None takes the environment's.
      seed: of the choice of templates and exemplars.
      skip_missing: leave out of mixtures what the data folder lacks.

    Raises:
      ValueError: neither `folder` nor FLAN_VOCABULARY names one, or it is none.
    """
    seqio_tasks.configure(
        vocabulary_dir=folder, data_dir=data_dir, seed=seed, skip_missing=skip_missing
    )
    return seqio_tasks.vocabulary()


def network(config: ModelConfig, words: SeqioVocabulary) -> Transformer:
    """The module for `t5x.models.DecoderOnlyModel`, its embedding fit to the vocabulary.

    Raises ValueError where the embedding is smaller than the vocabulary.
    """
    return Transformer(config.for_vocabulary(words.vocabulary.vocab_size))


def embedding_rows(words: SeqioVocabulary) -> int:
    """Rows of an embedding for a vocabulary, as our own networks have: a multiple of 128."""
    return -(-words.vocabulary.vocab_size // 128) * 128


def checkpoints(initial: str | None = None, period: int = 1000, keep: int | None = 3) -> Any:
    """T5X's `CheckpointConfig`: where parameters come from, and what is saved.

    Args:
      initial: a T5X checkpoint to start from; None starts from fresh parameters.
      period: steps between two checkpoints.
      keep: newest checkpoints that stay; None keeps all.
    """
    from t5x import utils

    restore = None
    if initial:
        restore = utils.RestoreCheckpointConfig(path=initial, mode="specific", dtype="float32")
    save = utils.SaveCheckpointConfig(period=period, dtype="float32", keep=keep)
    return utils.CheckpointConfig(restore=restore, save=save)


def run(
    mode: Literal["train", "eval", "infer"], files: Sequence[str], bindings: Sequence[str]
) -> Any:
    """What `python -m t5x.<mode>` does with gin files and bindings, in this process.

    Args:
      mode: T5X's module.
      files: paths as given, beside our `configs` folder, or beside T5X's package.
      bindings: gin statements, such as `TRAIN_STEPS = 100`.

    Returns:
      What T5X's function returns: after training the last step and state.

    Raises:
      ImportError: T5X, or what it needs, is not installed.
    """
    module = importlib.import_module(f"t5x.{mode}")
    function = getattr(module, _FUNCTIONS[mode])
    # T5X's gin files name the function by the script that was started.
    setattr(sys.modules["__main__"], _FUNCTIONS[mode], function)
    gin.clear_config()
    gin.register(function, "__main__")
    roots = (resource_dir("configs").parent, Path(module.__file__ or "").parents[1])
    gin.config._LOCATION_PREFIXES[:] = ["", *map(str, roots)]
    # Gin's other reader looks into Python packages, and fails on `configs/`, a folder that is none.
    gin.config._FILE_READERS[:] = [(open, os.path.isfile)]
    gin.parse_config_files_and_bindings(list(files), list(bindings))
    return gin.get_configurable(function)()
