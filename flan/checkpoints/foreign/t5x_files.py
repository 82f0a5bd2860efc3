"""The arrays of a T5X checkpoint, in its two layouts, read without T5X.

orbax         `checkpoint_<step>/state/` as orbax writes trees
msgpack       `checkpoint_<step>/checkpoint`, a msgpack tree whose large arrays are references
              to zarr folders beside it, `target.decoder.layers_0.mlp.wo.kernel/`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MSGPACK_FILE = "checkpoint"
ORBAX_FOLDER = "state"
_ORBAX_FILES = ("_METADATA", "manifest.ocdbt", "_sharding")


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array that is not read yet."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


def is_t5x(path: Path) -> bool:
    """Whether a folder is a T5X checkpoint."""
    state = path / ORBAX_FOLDER
    return (path / MSGPACK_FILE).is_file() or any((state / f).exists() for f in _ORBAX_FILES)


@dataclasses.dataclass(frozen=True)
class T5xArrays:
    """What a checkpoint holds, each by its place in the tree, keys joined by "/".

    Attributes:
      parameters: of the network.
      statistics: of the optimizer, each parameter's under its place.
      others: names of what else there is, the step aside.
      step: updates done; None where it does not say.
    """

    parameters: dict[str, StoredArray]
    statistics: dict[str, StoredArray]
    others: list[str]
    step: int | None


def open_arrays(path: Path) -> T5xArrays:
    """The arrays of a checkpoint; ValueError for one that cannot be read."""
    tree = _msgpack_tree(path) if (path / MSGPACK_FILE).is_file() else _orbax_tree(path)
    target = tree.get("target")
    if not isinstance(target, Mapping):
        raise ValueError(f"{path} holds no parameters ('target'); it has {sorted(tree)[:8]}")
    state = tree.get("state")
    state = state if isinstance(state, Mapping) else {}
    statistics = state.get("param_states")
    known = (("state", "param_states"), ("state", "step"))
    others = {keys[:2] for keys, _ in _leaves(tree) if keys[0] != "target"} - set(known)
    return T5xArrays(
        {"/".join(keys): leaf for keys, leaf in _leaves(target)},
        {"/".join(keys): leaf for keys, leaf in _leaves(statistics)}
        if isinstance(statistics, Mapping)
        else {},
        sorted("/".join(keys) for keys in others),
        _step(state.get("step"), path),
    )


def _step(stored: Any, path: Path) -> int | None:
    if not isinstance(stored, StoredArray):
        return None
    # T5X makes a float of it when it goes on from a checkpoint.
    step = stored.read().item() if stored.shape == () else None
    if not isinstance(step, int | float) or not 0 <= step < 1 << 31 or step != int(step):
        raise ValueError(f"{path}: its step {step} is no number of updates")
    return int(step)


def _leaves(tree: Mapping[str, Any], keys: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*keys, str(key)))
        elif value is not None:
            yield (*keys, str(key)), value


def _msgpack_tree(path: Path) -> dict[str, Any]:
    from flax import serialization

    try:
        # msgpack with arrays: no code is run.
        content = serialization.msgpack_restore((path / MSGPACK_FILE).read_bytes())
        tree = content["optimizer"]
    except Exception as error:  # flax and msgpack raise many kinds
        raise ValueError(f"{path / MSGPACK_FILE} is no T5X checkpoint: {error!r}") from error

    def stored(node: Any, keys: tuple[str, ...]) -> Any:
        if isinstance(node, Mapping):
            if isinstance(node.get("driver"), str):
                return _zarr(path, keys)
            return {str(key): stored(value, (*keys, str(key))) for key, value in node.items()}
        if isinstance(node, np.ndarray | np.generic):
            array = np.asarray(node)
            return StoredArray(array.shape, str(array.dtype), lambda: array)
        return node

    return stored(tree, ())


def _zarr(path: Path, keys: tuple[str, ...]) -> StoredArray:
    """The array that T5X writes for a place in the tree.

    Its folder's name follows from the place; what the reference says of it is not used, so
    that no file can point elsewhere.
    """
    import tensorstore as ts

    folder = path / ".".join(keys)
    if folder.parent != path or not folder.is_dir():
        raise ValueError(f"{path}: the array {'/'.join(keys)} is missing ({folder.name}/)")
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{folder.resolve()}/"},
        # A piece of a parameter that has no file was lost. (Others may leave out pieces of
        # an optimizer's statistics that are zeros alone, T5X does not.)
        "fill_missing_data_reads": keys[0] != "target",
    }
    try:
        array = ts.open(spec, open=True, read=True).result()
    except ValueError as error:
        raise ValueError(f"{folder} is no sound zarr array: {_line(error)}") from error

    def read() -> np.ndarray:
        try:
            return array.read().result()
        except ValueError as error:
            raise ValueError(f"{folder} cannot be read: {_line(error)}") from error

    return StoredArray(tuple(array.shape), array.dtype.name, read)


def _orbax_tree(path: Path) -> dict[str, Any]:
    import jax
    import orbax.checkpoint as ocp

    folder = (path / ORBAX_FOLDER).resolve()
    checkpointer = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    try:
        tree = checkpointer.metadata(folder).item_metadata.tree
    except Exception as error:  # orbax and tensorstore raise many kinds
        raise ValueError(f"{folder} cannot be read: {_line(error)}") from error

    def stored(node: Any, keys: tuple[Any, ...]) -> Any:
        if isinstance(node, Mapping):
            return {str(key): stored(value, (*keys, key)) for key, value in node.items()}
        if not hasattr(node, "shape") or node.shape is None:
            return None
        shape, dtype = tuple(node.shape), np.dtype(node.dtype)

        def read() -> np.ndarray:
            item: Any = jax.ShapeDtypeStruct(shape, dtype)
            restore: Any = ocp.RestoreArgs(restore_type=np.ndarray)
            for key in reversed(keys):
                item, restore = {key: item}, {key: restore}
            args = ocp.args.PyTreeRestore(item, restore_args=restore, partial_restore=True)
            try:
                found = checkpointer.restore(folder, args=args)
            except Exception as error:  # as above
                raise ValueError(f"{folder} cannot be read: {_line(error)}") from error
            for key in keys:
                found = found[key]
            return np.asarray(found)

        return StoredArray(shape, dtype.name, read)

    return stored(tree, ())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
