"""`flan train --engine=t5x`: a run of ours whose steps T5X takes, in a process of its own.

All around the steps is `flan.training.run`'s: vocabulary, data, initial parameters, receipt,
checks of what the folder holds. T5X begins with the run's state, written as a checkpoint of
its own, is given the run's batches, and its checkpoints become the run's as they appear. So
either engine goes on where the other left off.

`MODEL_DIR/t5x` is T5X's folder: its checkpoints and TensorBoard events.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from flan.checkpoints import layout
from flan.checkpoints.foreign.names import Change, Parameter
from flan.checkpoints.foreign.our_model import AdafactorShape
from flan.checkpoints.foreign.t5x_export import PREFIX, write_t5x
from flan.checkpoints.foreign.t5x_files import is_t5x, open_arrays
from flan.checkpoints.foreign.t5x_optimizer import read_adafactor
from flan.checkpoints.manager import CheckpointManager
from flan.data.batch import Batch
from flan.data.loader import prefetch
from flan.engines.t5x_process import T5xFailed, T5xProcess
from flan.engines.t5x_settings import check_installed, check_settings
from flan.partitioning import MeshConfig
from flan.progress import progress_bar
from flan.training.adafactor import AdafactorState
from flan.training.loop import LoopConfig
from flan.training.metrics import MetricsWriter
from flan.training.run import run
from flan.training.settings import OpenData, RunConfig
from flan.training.signals import Preempted, sigterm_noted
from flan.training.state import TrainState
from flan.training.window import NonFiniteLossError, Reporting

FOLDER = "t5x"


def run_t5x(
    config: RunConfig,
    operative_config: Callable[[], str] | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> TrainState:
    """Trains as `flan.training.run.run` does, and raises what it raises.

    Args:
      config: the run's settings.
      operative_config: see there.
      environment: variables of T5X's process; this one holds the state in host memory and
        leaves accelerators alone where JAX_PLATFORMS is `cpu` here.

    Raises:
      ValueError: T5X is not installed, or cannot do what the settings ask for.
      T5xFailed: it failed; the run's checkpoints are whole.
    """
    check_installed()
    check_settings(config)
    loop = functools.partial(t5x_loop, config, dict(environment or {}))
    # Devices are T5X's to share out.
    alone = dataclasses.replace(
        config,
        mesh=MeshConfig(),
        loop=dataclasses.replace(config.loop, eval_every=0),
    )
    return run(alone, operative_config, loop)


def t5x_loop(
    config: RunConfig,
    environment: Mapping[str, str | None],
    state: TrainState,
    step: Any,
    data: OpenData,
    loop: LoopConfig,
    mesh: Mesh,
    manager: CheckpointManager,
    writer: MetricsWriter,
    metadata: dict[str, Any],
    *,
    batch_size: int,
    reporting: Reporting,
    evaluate: Any = None,
) -> TrainState:
    """`flan.training.loop.train_loop` by T5X."""
    del step, mesh, evaluate  # ours
    model_dir = manager.folder.parent
    folder = model_dir / FOLDER
    first = int(state.step)
    network = layout.read_model_config(model_dir)
    if network.adapter is not None:
        raise ValueError("--engine=t5x trains whole networks, and this one has an adapter")
    _begin(state, folder)
    plan = {
        "folder": str(folder.resolve()),
        "first": first,
        "steps": loop.steps,
        "rows": batch_size,
        "length": data.length,
        "log_every": loop.log_every,
        "save_every": loop.save_every,
        "keep": loop.keep,
        "seed": config.seed,
        "model": network.to_json(),
        "optimizer": dataclasses.asdict(config.optimizer),
        "loss": dataclasses.asdict(config.step.loss),
        "partitions": config.mesh.model,
        "devices": config.mesh.data,
    }
    keeper = _Keeper(state, folder, manager, metadata)
    report = _Report(loop.steps, first, writer, reporting)
    with (
        sigterm_noted() as stop,
        progress_bar(loop.steps, "train (T5X)", "step", initial=first) as bar,
        contextlib.closing(prefetch(data, first)) as batches,
        T5xProcess(plan, environment) as process,
    ):
        for message in process.messages():
            if "batch" in message:
                batch = next(batches)
                report.count(batch)
                process.give(batch)
            elif "metrics" in message:
                done = message["step"]
                bar.set_postfix_str(report.write(done, message["metrics"]))
                bar.update(done - bar.n)
                keeper.take_over()
                process.answer("stop" if stop.raised else "go")
        stopped = "stopped" in message
    done = message["stopped" if stopped else "done"]
    keeper.take_over()
    manager.wait()
    if keeper.step != done:
        raise T5xFailed(f"T5X said that it reached step {done}, and saved {keeper.step} last")
    if stopped:
        raise Preempted(done)
    return keeper.state


def _begin(state: TrainState, folder: Path) -> None:
    """Leaves a state in T5X's folder, and nothing that came after it."""
    folder.mkdir(exist_ok=True)
    first = int(state.step)
    for path in folder.glob(f"{PREFIX}_*"):
        number = path.name.removeprefix(f"{PREFIX}_")
        if not number.isdigit() or int(number) >= first:
            shutil.rmtree(path)
    write_t5x(_StateSource(state), folder, first)


class _StateSource:
    """A train state in memory, for `write_t5x`."""

    def __init__(self, state: TrainState) -> None:
        self._params = state.params
        self._adafactor = _adafactor(state.opt_state)
        self.shapes = {
            path: leaf.shape
            for path, leaf in zip(_paths(state.params), jax.tree.leaves(state.params), strict=True)
        }

    def read(self, path: str) -> np.ndarray:
        return np.asarray(_at(self._params, path))

    def adafactor(self) -> AdafactorShape:
        kept = {
            name: any(
                leaf.shape != (1,) for leaf in jax.tree.leaves(getattr(self._adafactor, name))
            )
            for name in ("v_row", "m")
        }
        return AdafactorShape((), int(self._adafactor.step), kept["v_row"], kept["m"])

    def read_statistic(
        self, state: AdafactorShape, name: str, path: str, shape: tuple[int, ...]
    ) -> np.ndarray:
        found = np.asarray(_at(getattr(self._adafactor, name), path))
        assert found.shape == shape, (name, path, found.shape)
        return found


class _Keeper:
    """Makes T5X's checkpoints the run's.

    Attributes:
      state: of the newest one.
    """

    def __init__(
        self, state: TrainState, folder: Path, manager: CheckpointManager, metadata: dict[str, Any]
    ) -> None:
        self.state = state
        self._folder, self._manager, self._metadata = folder, manager, metadata

    @property
    def step(self) -> int:
        return int(self.state.step)

    def take_over(self) -> None:
        """Saves T5X's newest checkpoint among the run's, where it is not there yet."""
        found = {
            int(path.name.removeprefix(f"{PREFIX}_")): path
            for path in self._folder.glob(f"{PREFIX}_*")
            # While it is written, its name ends in something else.
            if path.name.removeprefix(f"{PREFIX}_").isdigit() and is_t5x(path)
        }
        newest = max(found, default=self.step)
        if newest > self.step:
            state = read_state(found[newest], self.state)
            if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
                raise NonFiniteLossError(
                    newest,
                    f"step {newest}: the parameters became NaN or infinite; they are not among the "
                    "run's checkpoints. Lower the learning rate or clip gradients",
                    self.step,
                )
            self.state = state
            self._manager.save(self.state, self._metadata)


def read_state(path: Path, like: TrainState) -> TrainState:
    """A T5X checkpoint of our network as a train state with the shapes of another.

    Raises ValueError where it is of another network or optimizer.
    """
    stored = open_arrays(path)
    shapes = [leaf.shape for leaf in jax.tree.leaves(like.params)]
    parameters = [
        Parameter(name, shape, stacked=False, parts=(name,), change=Change())
        for name, shape in zip(_paths(like.params), shapes, strict=True)
    ]
    found = {name: array.shape for name, array in stored.parameters.items()}
    if found != {p.path: p.shape for p in parameters}:
        raise ValueError(f"{path} is not a checkpoint of this run's network")
    optimizer = read_adafactor(stored.statistics, parameters, 0, stored.step or 0)
    if optimizer.state is None or stored.step is None:
        raise ValueError(f"{path}: its optimizer is not the run's; {optimizer.problem}")
    params = jax.tree.unflatten(
        jax.tree.structure(like.params), [stored.parameters[p.path].read() for p in parameters]
    )

    def filled(lazy: Any) -> np.ndarray:
        if isinstance(lazy, np.ndarray):
            return lazy
        array = np.empty(lazy.shape, lazy.dtype)
        lazy.fill(array)
        return array

    statistics = jax.tree.map(filled, optimizer.state)
    opt_state = jax.tree.map(
        lambda leaf: statistics if isinstance(leaf, AdafactorState) else leaf,
        like.opt_state,
        is_leaf=lambda leaf: isinstance(leaf, AdafactorState),
    )
    state = TrainState(np.asarray(stored.step, np.int32), params, opt_state)
    return jax.tree.map(lambda x, old: jax.device_put(x, old.sharding), state, like)


class _Report:
    """Writes lines of the log, and counts what the batches held."""

    def __init__(self, steps: int, first: int, writer: MetricsWriter, reporting: Reporting) -> None:
        self._steps, self._last, self._writer, self._reporting = steps, first, writer, reporting
        self._counts: list[tuple[int, int]] = []
        self._since = time.perf_counter()

    def count(self, batch: Batch) -> None:
        """Notes the batch of the next step."""
        self._counts.append((int((batch.segment_ids > 0).sum()), int(batch.loss_weights.sum())))

    def write(self, step: int, metrics: Mapping[str, float]) -> str:
        """Logs the steps since the last line; returns what the progress bar shows of them.

        T5X's means weigh steps alike, ours weigh target tokens. NonFiniteLossError for a
        loss that is no number.
        """
        if not math.isfinite(metrics["loss"]):
            raise NonFiniteLossError(
                step,
                f"loss {metrics['loss']} over the steps after {self._last} up to {step}. "
                f"Checkpoints before step {self._last} are unharmed. Lower the learning rate, clip "
                f"gradients, or look at data.batch({self._last}) and on",
                self._last - 1,
            )
        count, elapsed = step - self._last, time.perf_counter() - self._since
        # T5X asks for batches ahead.
        window, self._counts = self._counts[:count], self._counts[count:]
        tokens, targets = (sum(column) for column in zip(*window, strict=True))
        values = {
            **metrics,
            "tokens_per_step": tokens / count,
            "targets_per_step": targets / count,
            "tokens_per_second": tokens / elapsed,
            "seconds_per_step": elapsed / count,
            "seconds_left": (self._steps - step) * elapsed / count,
        }
        if self._reporting.flops is not None:
            values["model_flops_per_second"] = self._reporting.flops * count / elapsed
        self._writer.write(step, values)
        self._last, self._since = step, time.perf_counter()
        return f"loss {metrics['loss']:.3f}, {values['tokens_per_second']:,.0f} tokens/s"


def _adafactor(opt_state: Any) -> AdafactorState:
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, AdafactorState))
    return next(leaf for leaf in leaves if isinstance(leaf, AdafactorState))


def _paths(tree: Any) -> Iterator[str]:
    for path, _ in jax.tree_util.tree_leaves_with_path(tree):
        yield "/".join(entry.key for entry in path)


def _at(tree: Any, path: str) -> Any:
    for key in path.split("/"):
        tree = tree[key]
    return tree
