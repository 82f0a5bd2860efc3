"""Reads and writes safetensors, in one file or in shards with an index.

The `safetensors` package reads: it checks a header against the file before it allocates
anything. Writing is ours, because the package wants a whole shard in memory at once.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes  # noqa: F401 - teaches NumPy bfloat16, which `safetensors` asks it for
import numpy as np

from flan.checkpoints.foreign.tensors import TensorInfo
from flan.data import atomic
from flan.json_file import read_object

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_READABLE = {"F64", "F32", "F16", "BF16"}
_WRITTEN = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


class SafetensorsFiles:
    """The tensors of a folder or of one file.

    Attributes:
      files: those that hold them.

    Raises from the constructor FileNotFoundError where there are none, ValueError for a
    damaged file, an index that points elsewhere, or numbers that are no floats.
    """

    def __init__(self, path: Path):
        self.files, stated = _find(path)
        self._infos: dict[str, TensorInfo] = {}
        self._where: dict[str, Path] = {}
        for file in self.files:
            with _open(file) as opened:
                for name in opened.keys():  # noqa: SIM118 - no mapping
                    if name in self._where:
                        raise ValueError(f"{path}: tensor {name!r} is in two files")
                    part = opened.get_slice(name)
                    self._infos[name] = TensorInfo(tuple(part.get_shape()), str(part.get_dtype()))
                    self._where[name] = file
        for name, file in stated.items():
            if self._where.get(name) != file:
                raise ValueError(
                    f"{path}: {INDEX_FILE} says that {name!r} is in {file.name}, it is not"
                )

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """All tensors."""
        return self._infos

    def read(self, name: str) -> np.ndarray:
        """A tensor as stored; ValueError for one of whole numbers or 8-bit floats."""
        if self._infos[name].dtype not in _READABLE:
            raise ValueError(
                f"{self._where[name]}: tensor {name!r} is stored as {self._infos[name].dtype}, "
                f"which is no weight of these kinds: {', '.join(sorted(_READABLE))}"
            )
        with _open(self._where[name]) as opened:
            return opened.get_tensor(name)


def _open(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="np")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} is no sound safetensors file: {error}; it may be cut short, fetch it again"
        ) from error


def _find(path: Path) -> tuple[list[Path], dict[str, Path]]:
    """Files of a folder (or the file itself), and the index's tensor -> file where there is one."""
    if path.is_file():
        return [path], {}
    if not (path / INDEX_FILE).is_file():
        if (path / SINGLE_FILE).is_file():
            return [path / SINGLE_FILE], {}
        raise FileNotFoundError(f"{path} has neither {SINGLE_FILE} nor {INDEX_FILE}")
    try:
        index = read_object(path / INDEX_FILE)
        stated = {str(tensor): str(file) for tensor, file in index["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path / INDEX_FILE}: no index of tensors: {error!r}") from error
    for file in sorted(set(stated.values())):
        # Names only: an index must not make us open what lies elsewhere.
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise ValueError(f"{path / INDEX_FILE}: {file!r} is no name of a safetensors file")
        if not (path / file).is_file():
            raise FileNotFoundError(f"{path / file} is missing; {INDEX_FILE} lists it")
    return (
        [path / file for file in sorted(set(stated.values()))],
        {tensor: path / file for tensor, file in stated.items()},
    )


def write_safetensors(
    folder: Path,
    tensors: Sequence[tuple[str, tuple[int, ...]]],
    numbers: Callable[[], Iterator[np.ndarray]],
    dtype: str,
    max_shard_bytes: int,
) -> list[Path]:
    """Writes tensors in the order given, one in memory at a time.

    Args:
      folder: an existing one.
      tensors: name and shape of each.
      numbers: gives each one's numbers, in the same order.
      dtype: `float32`, `bfloat16` or `float16`.
      max_shard_bytes: a file ends before it grows beyond this, unless by its only tensor.

    Returns:
      The files: one, or shards beside an index.
    """
    width = np.dtype(dtype).itemsize
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    filled = 0
    for name, shape in tensors:
        size = math.prod(shape) * width
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, shape))
        filled += size
    files, remaining = [], numbers()
    for number, shard in enumerate(shards, start=1):
        name = SINGLE_FILE
        if len(shards) > 1:
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        files.append(folder / name)
        with files[-1].open("wb") as file:
            _write_shard(file, shard, remaining, dtype)
    if len(shards) > 1:
        total = sum(math.prod(shape) * width for _, shape in tensors)
        weight_map = {
            name: file.name for file, shard in zip(files, shards, strict=True) for name, _ in shard
        }
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        atomic.write_json(folder / INDEX_FILE, index)
    return files


def _write_shard(
    file: BinaryIO,
    tensors: Sequence[tuple[str, tuple[int, ...]]],
    numbers: Iterator[np.ndarray],
    dtype: str,
) -> None:
    # Other programs look for this entry to tell the layout of kernels.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors:
        end = at + math.prod(shape) * np.dtype(dtype).itemsize
        header[name] = {"dtype": _WRITTEN[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for (_, shape), array in zip(tensors, numbers, strict=False):
        assert array.shape == shape, (array.shape, shape)
        # bfloat16 has no buffer of its own.
        file.write(np.ascontiguousarray(array, np.dtype(dtype)).view(np.uint8).data)
