"""Turns a foreign model into a model folder of ours: checked whole, then written piece by piece."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np

from flan.checkpoints import layout
from flan.checkpoints.foreign.lazy_save import LazyArray, save_parameters
from flan.checkpoints.foreign.names import Parameter
from flan.checkpoints.foreign.tensors import TensorSource
from flan.checkpoints.manager import CheckpointError
from flan.data import atomic
from flan.data.vocabulary import Vocabulary, check_round_trip, load_vocabulary
from flan.models.config import ModelConfig

# An embedding may have more rows than there are tokens, for even shards. Beyond this the
# tokenizer must be another model's; one that came with the weights gets more: a share.
MOST_PADDING = 1024
MOST_OWN_PADDING = 1 / 16


@dataclasses.dataclass(frozen=True)
class ForeignModel:
    """What a reader finds out about a foreign model before any of its numbers is read.

    Attributes:
      path: the file or folder.
      kind: what it is, for people: "GGUF (llama)".
      config: the network.
      source: its tensors.
      parameters: our parameters and which tensors they come from.
      ignored: tensors that are no parameters of ours, and may be there.
      write_vocabulary: writes its tokenizer into an existing folder.
      reads_start: whether the model reads its tokenizer's start token before a text.
      files: whose bytes the numbers are.
      notes: what its user should know.
      step: gradient steps that it has had, where that is known.
      opt_state: state of our optimizer, its arrays `LazyArray`s; None for none.
      zeros: tensors that the network here has no place for, and that must hold zeros.
      own_tokenizer: whether the tokenizer lay with the weights.
    """

    path: Path
    kind: str
    config: ModelConfig
    source: TensorSource
    parameters: Sequence[Parameter]
    ignored: Callable[[str], bool]
    write_vocabulary: Callable[[Path], None]
    reads_start: bool
    files: Sequence[Path]
    notes: Sequence[str] = ()
    step: int = 0
    opt_state: Any = None
    zeros: Sequence[str] = ()
    own_tokenizer: bool = True

    def notes_for(self, dtype: str) -> list[str]:
        """What its user should know of parameters stored in `dtype`."""
        notes = list(self.notes)
        if dtype == "bfloat16" and any(p.change.offset for p in self.parameters):
            # Theirs are small numbers around 0, ours lie around 1 and have one dtype with the rest.
            notes.append("norms are rounded by bfloat16 as they are kept here; float32 keeps them")
        return notes


def check_tensors(model: ForeignModel) -> None:
    """CheckpointError listing tensors that are missing, of another shape, or of no use here."""
    infos = model.source.infos
    problems, used = [], set()
    for name in model.zeros:
        used.add(name)
        if name in infos and np.any(model.source.read(name)):
            problems.append(f"{name} is not zero, the network here has no place for it")
    for parameter in model.parameters:
        for name in parameter.parts:
            used.add(name)
            if name not in infos:
                problems.append(f"{name} is missing")
            elif infos[name].shape != parameter.part_shape:
                problems.append(
                    f"{name} has shape {list(infos[name].shape)}, expected "
                    f"{list(parameter.part_shape)}"
                )
    problems += [
        f"{name} {list(info.shape)} belongs to no parameter of this network"
        for name, info in infos.items()
        if name not in used and not model.ignored(name)
    ]
    if problems:
        shown = "; ".join(problems[:8])
        more = f"; and {len(problems) - 8:,} more" if len(problems) > 8 else ""
        raise CheckpointError(f"{model.path} is no sound {model.kind}: {shown}{more}")


def check_vocabulary_size(vocabulary: Vocabulary, model: ForeignModel) -> None:
    """CheckpointError for a tokenizer that cannot be the network's."""
    config = model.config
    padding = config.vocab_size - vocabulary.vocab_size
    share = int(config.vocab_size * MOST_OWN_PADDING) if model.own_tokenizer else 0
    if not 0 <= padding < max(MOST_PADDING, share):
        raise CheckpointError(
            f"{model.path}: the tokenizer has {vocabulary.vocab_size:,} tokens, the embedding "
            f"{config.vocab_size:,} rows: it is another model's"
        )


def import_model(
    model: ForeignModel,
    out: Path,
    *,
    dtype: str = "float32",
    files: Mapping[str, bytes] = MappingProxyType({}),
    on_progress: Callable[[int], Any] = lambda parts: None,
) -> None:
    """Writes a model folder: sizes, vocabulary, parameters, and where they come from.

    Args:
      model: what was found.
      out: the folder, which must not be there.
      dtype: of the stored parameters, `float32` or `bfloat16`.
      files: more files of the folder, by name.
      on_progress: called with the number of tensors finished since its last call.

    Raises:
      CheckpointError: tensors that are missing, of another shape, of no use here or not
        finite; a tokenizer of another size. Nothing is left of `out` then.
      ValueError: a tokenizer that loses line ends.
    """
    if out.exists():
        raise ValueError(f"{out} is there already: give another folder")
    check_tensors(model)
    config = dataclasses.replace(model.config, param_dtype=dtype)
    with atomic.new_folder(out) as folder:
        (folder / layout.VOCABULARY).mkdir()
        model.write_vocabulary(folder / layout.VOCABULARY)
        vocabulary = load_vocabulary(folder / layout.VOCABULARY)
        check_vocabulary_size(vocabulary, model)
        lost = check_round_trip(vocabulary)
        metadata = {
            "vocabulary_fingerprint": vocabulary.fingerprint,
            "vocabulary_loses": lost,
            "reads_start": model.reads_start,
            "model": config.to_json(),
            "source": {
                "kind": model.kind,
                "path": model.path.name,
                "sha256": files_fingerprint(model.files),
                "notes": model.notes_for(dtype),
            },
        }
        atomic.write_files(folder, files)
        layout.write_model_config(folder, config)
        save_parameters(
            folder,
            {
                p.path: LazyArray(
                    p.shape,
                    np.dtype(jnp.dtype(dtype)),
                    functools.partial(_fill, model.source, p, on_progress),
                )
                for p in model.parameters
            },
            metadata,
            model.step,
            model.opt_state,
        )


def files_fingerprint(files: Iterable[Path]) -> str:
    """SHA-256 in hex of files' bytes, one after the other in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _fill(
    source: TensorSource, parameter: Parameter, on_progress: Callable[[int], Any], out: np.ndarray
) -> None:
    """Reads a parameter's parts into `out`; CheckpointError for a number that is none."""
    for layer, name in enumerate(parameter.parts):
        part = source.read(name)
        assert part.shape == parameter.part_shape, (name, part.shape)
        place = out[layer] if parameter.stacked else out
        with np.errstate(over="ignore"):
            place[...] = parameter.change.to_ours(part)
        # After the change of dtype: what is finite in the file may be too large for it.
        if not np.isfinite(place).all():
            raise CheckpointError(f"{name} holds numbers that are not finite in {out.dtype}")
        on_progress(1)
