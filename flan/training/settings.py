"""All settings of a run, and what a run needs of its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from flan.data.dev_examples import DevExamples
from flan.data.receipt import Receipt
from flan.models.adapters import Adapter
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig
from flan.training.loop import BatchSource, LoopConfig
from flan.training.optimizer import OptimizerConfig
from flan.training.resume import OnDamaged
from flan.training.step import StepConfig, check_seed


class OpenData(BatchSource, Protocol):
    """Batches, and what is known of them."""

    @property
    def length(self) -> int:
        """Tokens of a row."""

    @property
    def max_targets(self) -> int | None:
        """Most loss positions in any row, or None where a row may be all loss."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the batches."""

    @property
    def receipt(self) -> Receipt | None:
        """What the mixture consists of; None where there is nothing to tell."""

    def observe(self, steps: int | None = None) -> Receipt:
        """The receipt with what the first `steps` steps read; not called without a receipt."""


class DataConfig(Protocol):
    """Settings of a run's data."""

    def vocabulary(self, folder: str | None) -> Path:
        """The vocabulary to use: `folder`, or one made from the data where it is None."""

    def open(
        self,
        vocabulary_dir: Path,
        batch_size: int,
        steps: int,
        seed: int,
        host: int,
        hosts: int,
        prefix: tuple[int, ...] = (),
    ) -> OpenData:
        """Prepares what is missing and opens it; each example gets `prefix` before its inputs."""


@runtime_checkable
class WithDevRows(Protocol):
    """Data with dev rows to score a run on while it trains."""

    def open_dev(self, vocabulary_dir: Path, rows: int, seed: int) -> DevExamples | None:
        """At most `rows` dev rows of each dataset that trains; None where there are none."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All settings of a run.

    Attributes:
      model_dir: where checkpoints, logs and the configuration go.
      data: where batches come from.
      model: the network; None takes the initial checkpoint's, or that of the run to go on with.
      over_model: where `model` is None, settings to lay over what is taken: entries of
        `ModelConfig`, of which only those that leave the parameters as they are may differ.
      adapter: what is trained on a frozen network, which `initial_checkpoint_path` has to
        give; None trains all parameters.
      loop: steps and periods.
      batch_size: rows of a batch, over all devices and hosts.
      optimizer: with its schedule.
      step: loss terms, microbatches.
      mesh: devices along data, fsdp and model.
      initial_checkpoint_path: a model folder (or one of its checkpoints) whose parameters
        the run starts from; step and optimizer start anew.
      vocabulary: a vocabulary folder; by default the initial checkpoint's, else one that
        is trained on the data.
      seed: of initialization, data order and dropout; below 2**32.
      on_damaged: a damaged newest checkpoint is refused (`error`), or set aside to go on
        from the newest sound one (`previous`).
      eval_rows: dev rows of each dataset that an evaluation scores at most.
      wandb_project: logs to that project of Weights & Biases as well; None does not.
    """

    model_dir: str
    data: DataConfig
    loop: LoopConfig
    model: ModelConfig | None = None
    over_model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    adapter: Adapter | None = None
    batch_size: int = 8
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    step: StepConfig = dataclasses.field(default_factory=StepConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    initial_checkpoint_path: str | None = None
    vocabulary: str | None = None
    seed: int = 0
    on_damaged: OnDamaged = "error"
    eval_rows: int = 32
    wandb_project: str | None = None

    def __post_init__(self) -> None:
        if self.on_damaged not in ("error", "previous"):
            raise ValueError(f"ON_DAMAGED must be 'error' or 'previous', got {self.on_damaged!r}")
        if self.batch_size < 1:
            raise ValueError(f"BATCH_SIZE must be 1 or more, got {self.batch_size}")
        check_seed("SEED", self.seed)
        if self.eval_rows < 1:
            raise ValueError(f"EVAL_ROWS must be 1 or more, got {self.eval_rows}")
