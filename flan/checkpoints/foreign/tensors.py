"""What the readers of foreign files have in common: named tensors, read one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """What a file says of a tensor.

    Attributes:
      shape: rows before columns, as NumPy counts.
      dtype: the file's own name for how numbers are stored ("BF16", "Q4_1", ...).
    """

    shape: tuple[int, ...]
    dtype: str


class TensorSource(Protocol):
    """Tensors by name. Opening reads no numbers, `read` those of one tensor."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """All tensors there are."""

    def read(self, name: str) -> np.ndarray:
        """The numbers of a tensor, in a float dtype and the shape that `infos` says."""
