"""Writes one of our models as a Hugging Face folder: config, safetensors, tokenizer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes  # noqa: F401 - teaches NumPy the name bfloat16
import numpy as np

from flan.checkpoints.foreign import names
from flan.checkpoints.foreign.export_tokenizer import write_tokenizer
from flan.checkpoints.foreign.hf_config import out_biases, write_config
from flan.checkpoints.foreign.our_model import OurModel
from flan.checkpoints.foreign.qwen_tokenizer import is_qwens
from flan.checkpoints.foreign.safetensors_io import write_safetensors
from flan.data import atomic
from flan.models.config import ModelConfig


def export_model(
    model: OurModel,
    out: Path,
    *,
    dtype: str = "float32",
    max_shard_bytes: int = 5_000_000_000,
    files: Mapping[str, bytes] = MappingProxyType({}),
    on_progress: Callable[[int], Any] = lambda tensors: None,
) -> str:
    """Writes a folder that `transformers` and vLLM load; returns its architecture's name.

    Args:
      model: the checkpoint.
      out: the folder, which must not be there.
      dtype: of the written weights: `float32`, `bfloat16` or `float16`.
      max_shard_bytes: of each safetensors file.
      files: more files of the folder, by name.
      on_progress: called with the number of tensors finished since its last call.

    Memory holds one parameter, stacked over layers, at a time. Raises ValueError where
    `transformers` has no such network, or for numbers that are not finite in `dtype`;
    nothing is left of `out` then.
    """
    if out.exists():
        raise ValueError(f"{out} is there already: give another folder")
    qwens = is_qwens(model.vocabulary, model.reads_start)
    family, values = write_config(model.config, qwen_tokenizer=qwens)
    parameters = names.parameters(model.config, names.HUGGING_FACE, norm_offset=family.norm_offset)
    tensors = [(name, p.part_shape) for p in parameters for name in p.parts]
    tensors += [(name, (model.config.d_model,)) for name in out_biases(model.config, values)]
    with atomic.new_folder(out) as folder:
        atomic.write_files(folder, files)
        ids = write_tokenizer(model, folder)
        atomic.write_json(folder / "config.json", {**values, **ids, "dtype": dtype})
        atomic.write_json(folder / "generation_config.json", {**ids, "do_sample": False})
        write_safetensors(
            folder,
            tensors,
            functools.partial(_numbers, model, parameters, tensors, dtype, on_progress),
            dtype,
            max_shard_bytes,
        )
    return family.architecture


def count_tensors(model: OurModel) -> int:
    """Tensors that `export_model` will write; ValueError where it could not."""
    write_config(model.config)
    return sum(len(p.parts) for p in names.parameters(model.config, names.HUGGING_FACE))


def _numbers(
    model: OurModel,
    parameters: list[names.Parameter],
    tensors: list[tuple[str, tuple[int, ...]]],
    dtype: str,
    on_progress: Callable[[int], Any],
) -> Iterator[np.ndarray]:
    """Each tensor in their layout, in order: those of parameters, then zeros."""
    for parameter in parameters:
        whole = model.read(parameter.path)
        factor = _folded(model.config, parameter.path)
        for layer, name in enumerate(parameter.parts):
            ours = whole[layer] if parameter.stacked else whole
            with np.errstate(over="ignore"):
                part = parameter.change.to_theirs(ours if factor == 1.0 else ours * factor)
                part = part.astype(np.dtype(dtype))
            if not np.isfinite(part).all():
                raise ValueError(
                    f"{model.path}: {parameter.path} holds numbers that are not finite in "
                    f"{dtype} ({name})"
                )
            on_progress(1)
            yield part
    for _, shape in tensors[sum(len(p.parts) for p in parameters) :]:
        yield np.zeros(shape, np.dtype(dtype))


def _folded(config: ModelConfig, path: str) -> np.float32:
    """What a parameter is multiplied by, where T5 has a factor that `transformers` has not."""
    if path == names.OURS["final_norm"] and config.tie_embeddings and config.scale_logits:
        return np.float32(config.d_model**-0.5)
    # A norm after the projection would undo a factor in it.
    scaled = ("query_norm",) if config.qk_norm else ("query", "query_bias")
    if not config.scale_attention and path in [names.OURS[slot] for slot in scaled]:
        return np.float32(config.d_head**0.5)
    return np.float32(1.0)
