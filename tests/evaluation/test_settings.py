"""Lengths that a model of a short context can read."""

import pytest

from flan.evaluation.prompts import Lengths
from flan.evaluation.settings import CellSettings

SETTINGS = CellSettings(lengths=Lengths(inputs=1024, targets=256))


@pytest.mark.parametrize("context", [None, 1280, 4096])
def test_a_long_context_changes_nothing(context):
    assert SETTINGS.within(context) is SETTINGS


def test_a_short_context_cuts_the_inputs(caplog):
    assert SETTINGS.within(512).lengths == Lengths(inputs=256, targets=256)
    assert SETTINGS.within(1280, prefix=20).lengths == Lengths(inputs=1004, targets=256)
    assert "inputs are cut to 256 instead of 1024" in caplog.text


def test_a_context_without_room_for_inputs_is_refused():
    with pytest.raises(ValueError, match="made for 257 tokens, targets of 256 leave no room"):
        SETTINGS.within(257)
