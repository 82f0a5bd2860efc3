"""Which parameters a run trains: all, or an adapter's. Optimizers and gradients see these alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flan.models.config import ModelConfig


def split(config: ModelConfig, params: Any) -> tuple[Any, Any]:
    """(trained, frozen) of a tree like the parameters: arrays, shapes or shardings.

    Each is a tree of dictionaries with its own leaves only; the frozen one is empty where no
    adapter is trained.
    """
    if config.adapter is None:
        return params, {}
    names = config.adapter.parameters
    return _only(params, names, True), _only(params, names, False)


def join(trained: Any, frozen: Any) -> Any:
    """The tree that `split` took apart."""
    if not isinstance(trained, dict) or not frozen:
        return trained
    return {
        **frozen,
        **{name: join(tree, frozen.get(name, {})) for name, tree in trained.items()},
    }


def _only(tree: dict[str, Any], leaves: Sequence[str], wanted: bool) -> dict[str, Any]:
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            if inner := _only(value, leaves, wanted):
                found[name] = inner
        elif (name in leaves) == wanted:
            found[name] = value
    return found
