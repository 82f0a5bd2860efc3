"""Reads GGUF files (llama.cpp's), every length checked against the file before it is used.

Layout: magic, version, counts; key/value metadata; a record for each tensor; the tensors'
data, aligned. Numbers are little-endian. The `gguf` package, which knows the block formats,
turns quantized blocks into float32.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flan.checkpoints.foreign.tensors import TensorInfo

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_DIMENSIONS = 4
_MOST_NESTING = 4

# Type number -> struct code.
_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
# Weights that can be read, as `gguf.GGMLQuantizationType` names them.
_WEIGHTS = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}
_WEIGHTS |= {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"}


class GgufFile:
    """A GGUF file, memory-mapped.

    Attributes:
      metadata: key -> number, string, or list or array of them.

    Raises ValueError from the constructor for anything but a sound file whose tensors can
    be read: says what is wrong, and where.
    """

    def __init__(self, path: Path):
        self.path = path
        with path.open("rb") as file:
            if path.stat().st_size < 24:
                raise ValueError(f"{path}: not a GGUF file: {path.stat().st_size} bytes")
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0
        try:
            self._read_header()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """All tensors."""
        return self._infos

    def read(self, name: str) -> np.ndarray:
        """A tensor in float32 (float16 as stored)."""
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        info = self._infos[name]
        start, size = self._places[name]
        raw = np.frombuffer(self._bytes, np.uint8, size, start)
        if info.dtype in ("F32", "F16"):
            return raw.view("<f4" if info.dtype == "F32" else "<f2").reshape(info.shape)
        rows = raw.reshape(math.prod(info.shape[:-1]), -1)
        with np.errstate(all="ignore"):  # numbers are checked by whoever asked for them
            return dequantize(rows, GGMLQuantizationType[info.dtype]).reshape(info.shape)

    def _read_header(self) -> None:
        if self._take(4) != MAGIC:
            raise ValueError(f"not a GGUF file: it begins with {self._bytes[:4]!r}")
        version = self._number("I")
        if version not in _VERSIONS:
            raise ValueError(f"GGUF version {version} is not among {_VERSIONS} (little-endian)")
        tensors = self._count(24)
        self.metadata: dict[str, Any] = {}
        for _ in range(self._count(13)):
            key = self._string()
            if key in self.metadata:
                raise ValueError(f"metadata {key!r} is there twice")
            self.metadata[key] = self._value(self._number("I"))
        records = [self._record() for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20:
            raise ValueError(f"general.alignment is {alignment!r}")
        self._place(records, -(-self._at // alignment) * alignment)

    def _place(self, records: list[tuple[str, tuple[int, ...], int, int]], start: int) -> None:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        self._infos: dict[str, TensorInfo] = {}
        self._places: dict[str, tuple[int, int]] = {}
        for name, shape, kind, offset in records:
            try:
                dtype = GGMLQuantizationType(kind)
            except ValueError:
                raise ValueError(f"tensor {name!r} has unknown type {kind}") from None
            if dtype.name not in _WEIGHTS:
                raise ValueError(
                    f"tensor {name!r} is stored as {dtype.name}, which cannot be read; "
                    f"these can: {', '.join(sorted(_WEIGHTS))}"
                )
            block, block_bytes = GGML_QUANT_SIZES[dtype]
            if not shape or shape[-1] % block:
                raise ValueError(f"tensor {name!r} of shape {shape}: rows are no blocks of {block}")
            size = math.prod(shape) // block * block_bytes
            if start + offset + size > len(self._bytes):
                raise ValueError(
                    f"tensor {name!r} ends at byte {start + offset + size:,}, the file at "
                    f"{len(self._bytes):,}: it is cut short or damaged"
                )
            if name in self._infos:
                raise ValueError(f"tensor {name!r} is there twice")
            self._infos[name] = TensorInfo(shape, dtype.name)
            self._places[name] = (start + offset, size)

    def _record(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type and offset of the next tensor."""
        name = self._string()
        dimensions = self._number("I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name!r} has {dimensions} dimensions")
        sizes = [self._number("Q") for _ in range(dimensions)]
        # The fastest axis comes first there.
        return name, tuple(sizes[::-1]), self._number("I"), self._number("Q")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY or depth == _MOST_NESTING:
            raise ValueError(f"metadata of unknown type {kind} at byte {self._at}")
        inner = self._number("I")
        if inner in _NUMBERS:
            dtype = np.dtype(_NUMBERS[inner]).newbyteorder("<")
            return np.frombuffer(self._take(self._count(dtype.itemsize) * dtype.itemsize), dtype)
        return [self._value(inner, depth + 1) for _ in range(self._count(8))]

    def _count(self, smallest: int) -> int:
        """A number of things of `smallest` bytes or more, which the rest of the file can hold."""
        count = self._number("Q")
        if count > (len(self._bytes) - self._at) // smallest:
            raise ValueError(
                f"{count:,} entries are announced at byte {self._at - 8}, more than the file holds: "
                "it is cut short or damaged"
            )
        return count

    def _string(self) -> str:
        # llama.cpp's own files have a few tokens that are no UTF-8.
        return self._take(self._count(1)).decode("utf-8", errors="replace")

    def _number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._bytes):
            raise ValueError(f"the file ends at byte {len(self._bytes):,}, within its header")
        taken = self._bytes[self._at : end]
        self._at = end
        return taken
