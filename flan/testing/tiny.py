"""A network and data small enough for any test: for ours and for users' own."""

from __future__ import annotations

import dataclasses

import numpy as np

from flan.data.batch import Batch
from flan.models.config import ModelConfig

TINY_MODEL = ModelConfig(vocab_size=64, num_layers=2, d_model=32, num_heads=4, d_head=8, d_ff=64)


@dataclasses.dataclass(frozen=True)
class EchoData:
    """Packed batches of a task that can be learned: repeat the input.

    Each row of 32 places holds one or two examples of three or four random tokens, EOS,
    the same tokens again, EOS. A pure function of (seed, step), as a `BatchSource` must be.

    Attributes:
      rows: of the whole batch.
      num_steps: batches there are.
      seed: of the tokens.
      host, hosts: which slice of the rows `batch` gives.
    """

    rows: int = 8
    num_steps: int = 1000
    seed: int = 0
    host: int = 0
    hosts: int = 1
    max_targets: int = 12
    receipt: None = None

    @property
    def fingerprint(self) -> str:
        """Names the data."""
        return f"echo-{self.rows}-{self.seed}"

    def batch(self, step: int) -> Batch:
        """`[rows / hosts, 32]`, the part of this host of batch `step`."""
        rng = np.random.default_rng((self.seed, step))
        arrays = {name: np.zeros((self.rows, 32), np.int32) for name in Batch._fields}
        for row in range(self.rows):
            start = 0
            for segment in range(1, rng.integers(1, 3) + 1):
                text = [*rng.integers(2, 64, rng.integers(3, 5)), 1]
                sequence = np.array([*text, *text])
                place = slice(start, start + len(sequence))
                arrays["targets"][row, place] = sequence
                arrays["tokens"][row, place] = [0, *sequence[:-1]]
                arrays["positions"][row, place] = np.arange(len(sequence))
                arrays["segment_ids"][row, place] = segment
                arrays["loss_weights"][row, start + len(text) : place.stop] = 1
                start = place.stop
        part = self.rows // self.hosts
        mine = slice(self.host * part, (self.host + 1) * part)
        weights = arrays.pop("loss_weights").astype(np.float32)
        return Batch(**{k: v[mine] for k, v in arrays.items()}, loss_weights=weights[mine])
