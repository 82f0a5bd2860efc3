"""Writes our checkpoints of parameters that are made one at a time, while they are written."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from flan.checkpoints import layout

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


def save_parameters(
    model_dir: Path, arrays: Mapping[str, LazyArray], metadata: dict[str, Any], step: int = 0
) -> None:
    """Writes `checkpoints/<step>` of a model folder, with no optimizer state.

    Args:
      model_dir: an existing folder; gets scratch files for as long as this takes.
      arrays: by path in the parameters, keys joined by "/".
      metadata: kept beside them.
      step: names the checkpoint.

    Memory holds one array at a time, of those above 256 MB a few pieces of 64 MB. What
    `fill` raises comes out of here.
    """
    params: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    tree = {"step": np.asarray(step, np.int32), "params": params, "opt_state": {}}
    registry = ocp.type_handlers.create_type_handler_registry(
        (LazyArray, _LazyHandler(model_dir)),
        (np.ndarray, ocp.type_handlers.NumpyHandler()),
    )
    manager = ocp.CheckpointManager(
        (model_dir / layout.CHECKPOINTS).resolve(),
        options=ocp.CheckpointManagerOptions(create=True, enable_async_checkpointing=False),
        item_handlers={
            "state": ocp.PyTreeCheckpointHandler(type_handler_registry=registry),
            "metadata": ocp.JsonCheckpointHandler(),
        },
    )
    try:
        chunks = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES), tree)
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(tree, save_args=chunks),
                metadata=ocp.args.JsonSave(metadata),
            ),
        )
    finally:
        manager.close()
