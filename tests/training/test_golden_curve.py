"""A run of 100 steps: its losses are kept, and are the same on any mesh, packed or not.

`golden/tiny_curve.json` holds them. `python tests/training/test_golden_curve.py` writes them
anew, after a change that is meant to change them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from flan.data.batch import Batch
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.tiny import TINY_MODEL, EchoData
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.state import create_state
from flan.training.step import StepConfig, make_train_step, put_batch

GOLDEN = Path(__file__).parent / "golden" / "tiny_curve.json"
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, clip_norm=1.0)


@dataclasses.dataclass(frozen=True)
class UnpackedEchoData(EchoData):
    """The same examples, each in a row of its own, and empty rows where there were fewer."""

    def batch(self, step: int) -> Batch:
        packed = super().batch(step)
        rows = [np.zeros((2 * len(packed.tokens), *a.shape[1:]), a.dtype) for a in packed]
        for row in range(len(packed.tokens)):
            for segment in (1, 2):
                where = packed.segment_ids[row] == segment
                for new, old in zip(rows, packed, strict=True):
                    new[2 * row + segment - 1, : where.sum()] = old[row][where]
        unpacked = Batch(*rows)
        return unpacked._replace(segment_ids=np.minimum(unpacked.segment_ids, 1))


def curve(mesh_config: MeshConfig, data: EchoData, steps: int = 100) -> np.ndarray:
    """The losses of a run on the first devices."""
    devices = mesh_config.data * mesh_config.fsdp * mesh_config.model
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    tx = make_optimizer(OPTIMIZER)
    state = create_state(TINY_MODEL, tx, 0, mesh, mesh_config)
    step = make_train_step(TINY_MODEL, tx, StepConfig(), mesh, mesh_config, data.max_targets)
    losses = []
    for number in range(steps):
        state, metrics = step(state, put_batch(data.batch(number), mesh))
        losses.append(metrics["loss"])
    return np.array(jax.device_get(losses))


@pytest.fixture(scope="module")
def one_device() -> np.ndarray:
    return curve(MeshConfig(1), EchoData())


def test_the_run_learns_as_it_did(one_device):
    # Another processor rounds otherwise, and a hundred steps carry that on.
    np.testing.assert_allclose(one_device, json.loads(GOLDEN.read_text()), rtol=1e-4)
    assert one_device[-10:].mean() < one_device[:10].mean() - 0.5


@pytest.mark.parametrize("mesh", [MeshConfig(4), MeshConfig(2, 2, 2)], ids=str)
def test_the_run_is_the_same_on_any_mesh(mesh, one_device):
    np.testing.assert_allclose(curve(mesh, EchoData()), one_device, rtol=1e-5)


def test_the_run_is_the_same_without_packing(one_device):
    np.testing.assert_allclose(curve(MeshConfig(1), UnpackedEchoData()), one_device, rtol=1e-5)


if __name__ == "__main__":
    losses = [round(float(loss), 6) for loss in curve(MeshConfig(1), EchoData())]
    GOLDEN.write_text(json.dumps(losses) + "\n")
