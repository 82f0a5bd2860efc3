"""Checkpoints through orbax: asynchronous, atomic, verified, the newest N kept."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from flan.checkpoints import integrity, layout
from flan.checkpoints.differences import differences
from flan.checkpoints.scores import SCORES, KeepBest, Scores, best_of, goodness
from flan.models.adapters import Adapter
from flan.models.config import ModelConfig
from flan.training.state import TrainState
from flan.training.trainable import join

# Runtime settings: a checkpoint does not depend on them.
RUNTIME_SETTINGS = ("dtype", "param_dtype", "remat", "attention", "dropout_rate", "context_length")


class CheckpointError(ValueError):
    """A checkpoint that is missing, broken, or of another shape."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that cannot be read, or is not what was saved.

    Attributes:
      step: its step.
      before: the step of the one before it, or None.
    """

    def __init__(self, message: str, step: int, before: int | None) -> None:
        super().__init__(message)
        self.step, self.before = step, before


class CheckpointManager:
    """Saves and restores train states under `<model_dir>/checkpoints`."""

    def __init__(
        self,
        model_dir: Path,
        keep: int | None = 3,
        read_only: bool = False,
        keep_best: bool = False,
    ) -> None:
        """Opens the folder.

        Args:
          model_dir: the model folder; made if it is not there (unless read_only).
          keep: how many of the newest checkpoints stay; None keeps all.
          read_only: for readers, which must not clean up behind a running writer.
          keep_best: the one with the best dev scores stays as well.
        """
        self.folder = model_dir / layout.CHECKPOINTS
        # What a killed save left lies under a temporary name, which no reader takes for a
        # checkpoint; the next writer removes it.
        policies = ocp.checkpoint_managers
        newest = policies.LatestN(n=keep)
        kept = (
            policies.AnyPreservationPolicy([newest, KeepBest(lambda: self._scores)])
            if keep_best
            else newest
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=kept,
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
            enable_async_checkpointing=not read_only,
        )
        self._manager = ocp.CheckpointManager(
            self.folder.resolve(), options=options, item_names=("state", "metadata")
        )
        self._scores: dict[int, Scores] = {}
        if keep_best:
            self._scores = self._stored_scores()

    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self, state: TrainState, metadata: dict[str, Any], scores: Scores | None = None
    ) -> None:
        """Saves in the background under the state's step; a step already there is left.

        `scores` are dev scores by name, where they are known; they go into the metadata.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        arrays = state._asdict()
        if scores:
            metadata = {**metadata, SCORES: scores}
            self._scores[step] = scores
        sealed = integrity.sealed(metadata, integrity.describe(arrays))
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays), metadata=ocp.args.JsonSave(sealed)
            ),
        )

    def restore(
        self, abstract: TrainState, step: int | None = None
    ) -> tuple[TrainState, dict[str, Any]]:
        """A state in the given shapes and shardings, from the newest or a named step.

        Raises:
          CheckpointError: there is none, or it cannot be read; says which one and
            which other steps there are.
        """
        step = self.pick(step)
        with self._explain(step):
            found, metadata, arrays = self._read(step, ocp.args.StandardRestore(abstract._asdict()))
            if arrays is not None:
                integrity.verify(found, arrays)
        return TrainState(**found), metadata

    def restore_params(
        self, abstract: Any, step: int | None = None, averaged: Any = None
    ) -> tuple[Any, int, dict[str, Any]]:
        """Parameters alone, in the given shapes and shardings; also the step and its metadata.

        Those in the tree `averaged` are the averaged ones (`OptimizerConfig.ema_decay`);
        CheckpointError if the run kept none. `abstract` has the others, if any.
        """
        step = self.pick(step)
        ema = averaged is not None
        wanted = ({"params": abstract} if abstract else {}) | (
            {"opt_state": {"ema": averaged}} if ema else {}
        )
        saved = self.described(step)[1]
        if ema and saved is not None and not any(k.startswith("opt_state/ema/") for k in saved):
            raise CheckpointError(
                f"{self.folder / str(step)} keeps no averaged parameters: the run was trained "
                "without OptimizerConfig.ema_decay"
            )
        found, metadata = self.restore_part(wanted, step)
        others = found.get("params", {})
        return join(found["opt_state"]["ema"], others) if ema else others, step, metadata

    def restore_part(self, wanted: Any, step: int) -> tuple[Any, dict[str, Any]]:
        """Some of a state's arrays, a part of its tree given as abstract ones; and the metadata."""
        with self._explain(step):
            found, metadata, arrays = self._read(
                step,
                ocp.args.PyTreeRestore(
                    wanted,
                    restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
                    partial_restore=True,
                ),
            )
            if arrays is not None:
                integrity.verify(found, arrays)
        return found, metadata

    def stored_tree(self, step: int) -> Any:
        """The tree of a checkpoint's state, its leaves with shapes and dtypes."""
        with self._explain(step):
            item = ocp.PyTreeCheckpointHandler()
            return item.metadata(self.folder.resolve() / str(step) / "state").tree

    def metadata(self, step: int | None = None) -> tuple[int, dict[str, Any]]:
        """Step and metadata of a checkpoint, without its arrays."""
        step = self.pick(step)
        with self._explain(step):
            return step, self._read(step)[1]

    def described(self, step: int) -> tuple[dict[str, Any], integrity.Described | None]:
        """Metadata, and shapes and dtypes of the arrays; None where it does not say."""
        with self._explain(step):
            return self._read(step)[1:]

    def _read(
        self, step: int, state: Any = None
    ) -> tuple[Any, dict[str, Any], integrity.Described | None]:
        """What orbax restores as `state`, the metadata, and the arrays' checksums."""
        items = {"metadata": ocp.args.JsonRestore()} | ({"state": state} if state else {})
        found = self._manager.restore(step, args=ocp.args.Composite(**items))
        metadata, arrays = integrity.opened(dict(found["metadata"]))
        return found["state"] if state else None, metadata, arrays

    def is_best(self, scores: Scores) -> bool:
        """Whether dev scores are better than those of all checkpoints that are there."""
        there = self.steps()
        return all(goodness(scores) > goodness(s) for n, s in self._scores.items() if n in there)

    def best_step(self) -> int:
        """The step of the checkpoint with the best dev scores, the first of equals.

        Raises CheckpointError where none has any.
        """
        scores = self._stored_scores()
        if not scores:
            raise CheckpointError(
                f"no checkpoint in {self.folder} has dev scores; they come of EVAL_PERIOD steps at "
                "which one is saved, or of KEEP_BEST=True"
            )
        return best_of(scores)

    def _stored_scores(self) -> dict[int, Scores]:
        """Dev scores of the checkpoints that have some; damaged ones are passed over."""
        found = {}
        for step in self.steps():
            with contextlib.suppress(DamagedCheckpointError):
                if scores := self.metadata(step)[1].get(SCORES):
                    found[step] = scores
        return found

    def set_aside(self, steps: Sequence[int]) -> None:
        """Moves checkpoints out of the way, into `damaged/`; nothing is deleted."""
        aside = self.folder.parent / layout.DAMAGED
        if jax.process_index() == 0:
            aside.mkdir(exist_ok=True)
            for step in steps:
                names = itertools.chain([f"{step}"], (f"{step}.{n}" for n in itertools.count(2)))
                name = next(name for name in names if not (aside / name).exists())
                (self.folder / str(step)).rename(aside / name)
        ocp.multihost.sync_global_processes("flan_set_aside")
        self._manager.reload()

    def wait(self) -> None:
        """Returns when the background save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets go of the folder."""
        self._manager.close()

    def pick(self, step: int | None) -> int:
        """A step that there is, None the newest; CheckpointError where there is none such."""
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.folder} holds no finished checkpoint")
        if step is None:
            return steps[-1]
        if step not in steps:
            raise CheckpointError(f"{self.folder} has no checkpoint of step {step}; it has {steps}")
        return step

    @contextlib.contextmanager
    def _explain(self, step: int) -> Iterator[None]:
        # Orbax and tensorstore raise many kinds of errors for a damaged folder.
        try:
            yield
        except Exception as error:
            before = max((s for s in self.steps() if s < step), default=None)
            advice = "there is none before it"
            if before is not None:
                advice = f"step {before} is the one before it ({self.folder / str(before)})"
            reason = " ".join(str(error).split())[:200]
            raise DamagedCheckpointError(
                f"checkpoint {self.folder / str(step)} cannot be read ({type(error).__name__}: "
                f"{reason}); {advice}",
                step,
                before,
            ) from error


def check_same_model(found: ModelConfig, wanted: ModelConfig, where: Path) -> None:
    """CheckpointError listing each entry in which a checkpoint's network differs from the wanted one."""
    free = (*RUNTIME_SETTINGS, "adapter")
    if found_differences := differences(found.to_json(), wanted.to_json(), free):
        raise CheckpointError(
            f"the checkpoint in {where} is of another model: {found_differences}. Give the "
            "gin file of its size, or --gin.MODEL=None to take the sizes from the checkpoint"
        )
    if found.adapter != wanted.adapter:
        raise CheckpointError(
            f"the run in {where} trains {_described(found.adapter)}, these settings ask for "
            f"{_described(wanted.adapter)}: give its own (PEFT, Lora.*, SoftPrompt.*), or another "
            "MODEL_DIR"
        )


def _described(adapter: Adapter | None) -> str:
    return "all parameters" if adapter is None else repr(adapter)


def quiet_orbax() -> None:
    """Keeps orbax's and absl's progress notes out of the terminal."""
    for name in ("absl", "orbax"):
        logging.getLogger(name).setLevel(logging.ERROR)
