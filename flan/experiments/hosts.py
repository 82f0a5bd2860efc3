"""The hosts that run a training together."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Which process this is, of how many, started in the same way on each host.

    Attributes:
      count: how many there are.
      process: this one, from 0.
      coordinator: HOST:PORT of process 0; None where JAX finds the others by itself, as on
        TPU pods and under srun.
    """

    count: int = 1
    process: int = 0
    coordinator: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.process < self.count:
            raise ValueError(
                f"process {self.process} is not one of {self.count} (they are counted from 0)"
            )

    @property
    def first(self) -> bool:
        """Whether this process does what is done once."""
        return self.process == 0

    def flags(self) -> tuple[str, ...]:
        """What tells `flan train` of the others."""
        if self.count == 1:
            return ()
        if self.coordinator is None:
            return ("--distributed",)
        return (
            f"--coordinator_address={self.coordinator}",
            f"--num_processes={self.count}",
            f"--process_id={self.process}",
        )
