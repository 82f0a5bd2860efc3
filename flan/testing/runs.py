"""Compares finished runs."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from flan.checkpoints import layout


def final_arrays(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the newest checkpoint, the optimizer's included, by path."""
    import orbax.checkpoint as ocp

    step = max(int(p.name) for p in (folder / layout.CHECKPOINTS).iterdir())
    state = ocp.StandardCheckpointer().restore(folder / layout.CHECKPOINTS / str(step) / "state")
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same(one: Path, two: Path) -> None:
    """The newest checkpoints of two runs are bit-identical, optimizer included."""
    first, second = final_arrays(one), final_arrays(two)
    assert first.keys() == second.keys()
    assert len([key for key in first if "opt_state" in key]) > 5
    for key, array in first.items():
        assert array.dtype == second[key].dtype
        assert np.array_equal(array, second[key]), key
