"""`model.gin` of a T5X export makes the network again."""

from __future__ import annotations

import gin
import pytest
from foreign_models import FAMILIES

from flan import gin_edge
from flan.checkpoints.foreign.t5x_export import model_gin
from flan.models.config import ModelConfig
from flan.models.rope_scaling import RopeScaling


@pytest.mark.parametrize("name", FAMILIES)
def test_a_networks_gin_makes_the_network(name, tmp_path):
    made = gin_edge.register({"ModelConfig": ModelConfig, "RopeScaling": RopeScaling})
    (tmp_path / "model.gin").write_text(model_gin(FAMILIES[name]))
    gin_edge.parse([str(tmp_path / "model.gin")], [])
    assert made["ModelConfig"]() == FAMILIES[name]
    gin.clear_config()
