"""The self-test passes for a sound model on one device and on eight, and finds leaks."""

import dataclasses

import pytest

from flan.evaluation.fingerprint import params_fingerprint
from flan.evaluation.model import EvaluationModel, load_model
from flan.evaluation.placement import place
from flan.evaluation.prompts import Lengths
from flan.evaluation.selftest import sample_requests, scored_times, selftest
from flan.evaluation.settings import CellSettings

SETTINGS = CellSettings(lengths=Lengths(inputs=120, targets=8), batch_rows=2)


@pytest.fixture(scope="module")
def model(tiny_model, characters):
    network, params = tiny_model
    return EvaluationModel("tiny", network, params, characters, 3, params_fingerprint(params))


def test_a_sound_model_passes(model):
    requests = sample_requests(model, SETTINGS, rows=2, templates=1)
    assert len({len(r.options) for r in requests}) > 2
    seen = []
    found = selftest(model, requests, SETTINGS, seen.append)
    assert all(m.passed for m in found), found
    assert all(m.compared > 0 and m.changed == 0 for m in found)
    assert len({m.variation for m in found}) == len(found) == 8
    assert sum(seen) == scored_times(model, len(requests))


@dataclasses.dataclass(frozen=True)
class Leaky:
    """A network that lets examples of a row see each other."""

    network: object
    prefix_lm: bool = False

    def apply(self, variables, tokens, *, decoder_segment_ids, **rest):
        return self.network.apply(
            variables, tokens, decoder_segment_ids=decoder_segment_ids * 0 + 1, **rest
        )


def test_a_leak_is_found(model):
    requests = sample_requests(model, SETTINGS, rows=2, templates=1)
    leaky = dataclasses.replace(model, network=Leaky(model.network))
    failed = {m.variation for m in selftest(leaky, requests, SETTINGS) if not m.passed}
    assert {"reversed", "each alone"} <= failed


def test_eight_devices_score_as_one(checkpoint):
    folder, _ = checkpoint
    model = load_model(folder)
    assert model.parts == 8
    assert SETTINGS.shapes(8).rows_of(SETTINGS.shapes(8).row(128, 8)) == 8
    requests = sample_requests(model, SETTINGS, rows=1, templates=1)
    found = selftest(model, requests, SETTINGS)
    assert found[-1].variation == "one device of 8"
    assert all(m.passed for m in found), found


def test_devices_are_counted(tiny_model):
    config = dataclasses.replace(tiny_model[0].config, num_heads=8)
    assert place(config).parts == 8
    assert place(config, devices=4, model=2).parts == 2
    with pytest.raises(ValueError, match="9 devices were asked for, there are 8"):
        place(config, devices=9)
    with pytest.raises(ValueError, match="cannot be split into groups of 3"):
        place(config, model=3)
