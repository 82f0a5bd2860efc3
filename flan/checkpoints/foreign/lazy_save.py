"""Writes our checkpoints of parameters that are made one at a time, while they are written."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from flan.checkpoints import integrity, layout

# Arrays above this are put together in a file, whose pages the system may take back.
_MOST_IN_MEMORY = 256 << 20
# Pieces that arrays are stored in, so that writing one copies no more than that.
_CHUNK_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class LazyArray:
    """An array that is not there yet.

    Attributes:
      shape, dtype: of the whole.
      fill: writes the numbers into an array of that shape and dtype.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fill: Callable[[np.ndarray], None]


class _LazyHandler(ocp.type_handlers.NumpyHandler):
    """Makes, writes and lets go of one array after the other; what it writes reads as any other."""

    def __init__(self, scratch: Path):
        # Nobody changes an array while it is written: no copy of it is needed.
        super().__init__(deepcopy_host_arrays=False)
        self._scratch = scratch

    async def serialize(
        self, values: Sequence[Any], infos: Sequence[Any], args: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        args = args or [ocp.SaveArgs()] * len(values)
        for value, info, arg in zip(values, infos, args, strict=True):
            with tempfile.TemporaryFile(dir=self._scratch) as file:
                array = self._empty(value, file)
                value.fill(array)
                for written in await super().serialize([array], [info], [arg]):
                    written.result()
                del array
        return []

    def _empty(self, value: LazyArray, file: Any) -> np.ndarray:
        size = int(np.prod(value.shape, dtype=np.int64)) * value.dtype.itemsize
        if size <= _MOST_IN_MEMORY:
            return np.empty(value.shape, value.dtype)
        file.truncate(size)
        return np.memmap(file, value.dtype, "r+", shape=value.shape)


class _SealingHandler(ocp.JsonCheckpointHandler):
    """Writes metadata, and into them at the end the checksums of all arrays."""

    def __init__(self, arrays: integrity.Described):
        super().__init__()
        self._arrays = arrays

    def finalize(self, directory: Any) -> None:
        path = Path(directory) / self._filename
        stored = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(integrity.sealed(stored, self._arrays)), encoding="utf-8")


def _lazy(leaf: LazyArray | np.ndarray) -> LazyArray:
    if isinstance(leaf, LazyArray):
        return leaf

    def fill(out: np.ndarray) -> None:
        out[...] = leaf

    return LazyArray(leaf.shape, leaf.dtype, fill)


def _described(name: str, lazy: LazyArray, arrays: integrity.Described) -> LazyArray:
    """The same, which also notes in `arrays` what was made."""

    def fill(out: np.ndarray) -> None:
        lazy.fill(out)
        arrays[name] = (list(out.shape), str(out.dtype), integrity.host_checksum(out))

    return dataclasses.replace(lazy, fill=fill)


def as_tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Values by path, keys joined by "/", as nested dictionaries."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def save_parameters(
    model_dir: Path,
    arrays: Mapping[str, LazyArray],
    metadata: dict[str, Any],
    step: int = 0,
    opt_state: Any = None,
) -> None:
    """Writes `checkpoints/<step>` of a model folder.

    Args:
      model_dir: an existing folder; gets scratch files for as long as this takes.
      arrays: by path in the parameters, keys joined by "/".
      metadata: kept beside them.
      step: names the checkpoint.
      opt_state: the optimizer's state, of `LazyArray`s and NumPy arrays; None for none.

    Memory holds one array at a time, of those above 256 MB a few pieces of 64 MB. What
    `fill` raises comes out of here.
    """
    tree = {
        "step": np.asarray(step, np.int32),
        "params": as_tree(arrays),
        "opt_state": {} if opt_state is None else opt_state,
    }
    save_tree(model_dir / layout.CHECKPOINTS, step, tree, metadata, scratch=model_dir)


def save_tree(
    folder: Path,
    step: int,
    tree: Any,
    metadata: dict[str, Any] | None = None,
    *,
    scratch: Path,
    prefix: str | None = None,
) -> None:
    """Writes a checkpoint of `LazyArray`s and NumPy arrays, whole or not at all.

    Args:
      folder: of the checkpoints; made if it is not there.
      step: names the checkpoint, `<step>` or `<prefix>_<step>` there.
      tree: its item `state`.
      metadata: its item `metadata`, JSON, which gets the arrays' checksums; None writes none.
      scratch: an existing folder for scratch files.
      prefix: of the name.
    """
    # Orbax's own handler would still be writing in the background when another array fails.
    tree = jax.tree.map(_lazy, tree)
    arrays: integrity.Described = {}
    if metadata is not None:
        tree = jax.tree_util.tree_map_with_path(
            lambda path, lazy: _described(integrity.path_name(path), lazy, arrays), tree
        )
    types = ocp.type_handlers.create_type_handler_registry((LazyArray, _LazyHandler(scratch)))
    handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
    handlers.add(
        "state", ocp.args.PyTreeSave, ocp.PyTreeCheckpointHandler(type_handler_registry=types)
    )
    chunks = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES), tree)
    items: dict[str, Any] = {"state": ocp.args.PyTreeSave(tree, save_args=chunks)}
    if metadata is not None:
        handlers.add("metadata", ocp.args.JsonSave, _SealingHandler(arrays))
        items["metadata"] = ocp.args.JsonSave(metadata)
    manager = ocp.CheckpointManager(
        folder.resolve(),
        options=ocp.CheckpointManagerOptions(
            create=True, enable_async_checkpointing=False, step_prefix=prefix
        ),
        handler_registry=handlers,
    )
    try:
        manager.save(step, args=ocp.args.Composite(**items))
    finally:
        manager.close()
