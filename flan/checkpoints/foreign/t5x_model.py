"""A T5X decoder-only checkpoint as a foreign model: its shapes say what network it is.

Two layouts of layers are known: `layers_0`, `layers_1`, ... (T5X's `decoder_only` example)
and one stack for `scan`, whose layers lie on axis 0 (our network, trained by T5X) or 1.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from flan.checkpoints.foreign.hf_model import TOKENIZER_CONFIGS
from flan.checkpoints.foreign.import_model import ForeignModel
from flan.checkpoints.foreign.names import Change, Parameter, parameter_shapes
from flan.checkpoints.foreign.t5x_files import StoredArray, open_arrays
from flan.checkpoints.foreign.t5x_optimizer import read_adafactor
from flan.checkpoints.foreign.tensors import TensorInfo
from flan.data.hugging_face_vocabulary import HuggingFaceVocabulary, save_hugging_face
from flan.data.sentencepiece_vocabulary import DESCRIPTION_FILE, MODEL_FILE
from flan.data.vocabulary import load_vocabulary
from flan.models.config import ModelConfig

_LAYER = re.compile(r"layers_(\d+)/")
_FIRST_NORM = "layers/pre_self_attention_layer_norm/scale"


class _Arrays:
    """Arrays under our names; those of one layer keep its number: `layers_3/mlp/wo/kernel`."""

    def __init__(self, arrays: Mapping[str, StoredArray], axis: int):
        self._arrays = arrays
        self.axis = axis
        self.infos = {
            name: TensorInfo(self._shape(name, array.shape), array.dtype)
            for name, array in arrays.items()
        }

    def read(self, name: str) -> np.ndarray:
        """An array, layers first."""
        array = self._arrays[name].read()
        return np.moveaxis(array, 1, 0) if self._moved(name) else array

    def _moved(self, name: str) -> bool:
        return name.startswith("layers/") and self.axis == 1

    def _shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[1], shape[0], *shape[2:]) if self._moved(name) and len(shape) > 1 else shape


def open_t5x(path: Path, vocabulary: Path | None) -> ForeignModel:
    """What a checkpoint folder holds, or the newest in a folder of them.

    Args:
      path: `checkpoint_<step>`, or the folder above.
      vocabulary: a vocabulary folder or SentencePiece model, which T5X keeps elsewhere.

    Raises ValueError for a checkpoint that cannot be read, or of another kind of network.
    """
    if vocabulary is None:
        raise ValueError(
            f"{path}: a T5X checkpoint has no vocabulary: give the one it was trained with, "
            "--vocabulary FOLDER or MODEL_FILE"
        )
    load_vocabulary(vocabulary)  # raises before anything is read
    stored = open_arrays(path)
    arrays = stored.parameters
    ours = {_plain(name): array for name, array in arrays.items()}
    if any(name.startswith("encoder/") for name in ours):
        raise ValueError(f"{path} is an encoder-decoder model; only decoder-only ones are imported")
    layers = sorted({int(m[1]) for m in map(_LAYER.match, ours) if m})
    try:
        source, config = _describe(ours, layers)
    except KeyError as error:
        raise ValueError(
            f"{path} is no T5X decoder-only model: it has no {error.args[0]}; its arrays are "
            f"{', '.join(sorted(arrays)[:6])}, ..."
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    parameters = [
        Parameter(
            name,
            shape,
            stacked=bool(layers) and name.startswith("layers/"),
            parts=tuple(name.replace("layers/", f"layers_{i}/", 1) for i in layers)
            if layers and name.startswith("layers/")
            else (name,),
            change=Change(),
        )
        for name, shape in parameter_shapes(config).items()
    ]
    notes = ["the checkpoint does not say its gate's activation: taken to be GELU"]
    optimizer = read_adafactor(
        {_plain(name): array for name, array in stored.statistics.items()},
        parameters,
        source.axis,
        stored.step or 0,
    )
    if optimizer.state is not None:
        notes.append("with Adafactor's state")
    else:
        notes.append(f"left out: the optimizer's state; {optimizer.problem}")
    if stored.others:
        notes.append(f"left out: {', '.join(stored.others)}")
    return ForeignModel(
        path=path,
        kind="T5X decoder-only model",
        config=config,
        source=source,
        parameters=parameters,
        ignored=lambda name: False,
        write_vocabulary=lambda folder: _copy_vocabulary(vocabulary, folder),
        reads_start=True,
        files=sorted(p for p in path.rglob("*") if p.is_file()),
        notes=notes,
        step=stored.step or 0,
        opt_state=optimizer.state,
        own_tokenizer=False,
    )


def _plain(name: str) -> str:
    """A parameter's name without the modules around the decoder, stacked layers under `layers/`."""
    while name.startswith("decoder/"):
        name = name.removeprefix("decoder/")
    if re.match(r"(self_attention|mlp|pre_\w+_layer_norm)/", name):
        return f"layers/{name}"
    return name


def _describe(arrays: Mapping[str, StoredArray], layers: list[int]) -> tuple[_Arrays, ModelConfig]:
    """Arrays and network; KeyError for an array that is not there, ValueError for odd shapes."""
    embedding = arrays["token_embedder/embedding"].shape
    bias = arrays["relpos_bias/rel_embedding"].shape
    if len(embedding) != 2 or len(bias) != 2 or 0 in (*embedding, *bias):
        raise ValueError(f"embedding {list(embedding)} and bias {list(bias)} should be matrices")
    width, heads = embedding[1], bias[0]
    if layers and layers != list(range(len(layers))):
        raise ValueError(f"layers {layers} are not numbered from 0 on")
    axis = 0
    if not layers:
        norm = arrays[_FIRST_NORM].shape
        if len(norm) != 2 or width not in norm:
            raise ValueError(f"{_FIRST_NORM} {list(norm)} should hold {width} numbers a layer")
        axis = 0 if norm[1] == width else 1
    source = _Arrays(arrays, axis)
    prefix = "layers_0/" if layers else "layers/"
    columns = {
        key: arrays[f"{prefix}{key}/kernel"].shape[-1]
        for key in ("self_attention/query", "self_attention/key", "mlp/wi_0")
    }
    head = columns["self_attention/query"] // heads
    if not head or columns["self_attention/key"] % head:
        raise ValueError(f"queries and keys {columns} do not divide into {heads} heads")
    kv_heads = columns["self_attention/key"] // head
    return source, ModelConfig(
        vocab_size=embedding[0],
        num_layers=len(layers) or source.infos[_FIRST_NORM].shape[0],
        d_model=width,
        num_heads=heads,
        d_head=head,
        d_ff=columns["mlp/wi_0"],
        num_kv_heads=None if kv_heads == heads else kv_heads,
        relative_buckets=bias[1],
        tie_embeddings="logits_dense/kernel" not in arrays,
    )


def _copy_vocabulary(path: Path, folder: Path) -> None:
    """Writes a vocabulary's own files; what else lies beside them stays there."""
    vocabulary = load_vocabulary(path)
    beside: tuple[str, ...] = TOKENIZER_CONFIGS
    if isinstance(vocabulary, HuggingFaceVocabulary):
        save_hugging_face(vocabulary, folder)
    else:
        (folder / MODEL_FILE).write_bytes(vocabulary.model)
        beside = (DESCRIPTION_FILE,) if path.is_dir() else ()
    for name in beside:
        file = (path if path.is_dir() else path.parent) / name
        if file.is_file():
            shutil.copyfile(file, folder / name)
