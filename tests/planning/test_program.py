"""Plans of real train steps, on virtual CPU devices."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig
from flan.planning.chips import chips
from flan.planning.counts import Counts
from flan.planning.estimate import Estimate, estimate
from flan.planning.program import Memory, Program, Work, compile_step, least_bytes
from flan.planning.search import candidates, search
from flan.planning.topology import Topology, find_topology
from flan.training.optimizer import OptimizerConfig
from flan.training.step import StepConfig

MODEL = ModelConfig(
    vocab_size=256, num_layers=3, d_model=64, num_heads=4, d_head=32, d_ff=256, remat="full"
)
WORK = Work(
    MODEL, OptimizerConfig(), StepConfig(), MeshConfig(2, 2, 2), 8, 64, max_targets=None, steps=100
)


@pytest.fixture(scope="module")
def eight() -> Topology:
    return find_topology("cpu:8")


@pytest.fixture(scope="module")
def planned(eight) -> Estimate:
    return estimate(WORK, eight)


def test_operations_are_those_that_the_shapes_ask_for(planned):
    """A step on eight devices multiplies what one would, and nothing twice."""
    assert planned.total_flops == pytest.approx(WORK.model_flops, rel=0.02)


def test_operations_follow_six_parameters_tokens(eight):
    """Without vocabulary and attention to speak of, the rule of thumb holds."""
    model = dataclasses.replace(MODEL, vocab_size=128, d_ff=1024, remat="none")
    work = dataclasses.replace(WORK, model=model, length=16, mesh=MeshConfig(1))
    made = estimate(work, Topology("cpu:1", eight.devices[:1], None))
    assert made.total_flops == pytest.approx(work.rule_flops, rel=0.1)


def test_memory_is_what_the_shardings_say(planned):
    memory = planned.program.memory
    # All kernels are split over fsdp and model; the norms' scales over fsdp alone.
    assert memory.parameters == pytest.approx(MODEL.num_parameters * 4 / 4, rel=0.01)
    assert 0 < memory.optimizer < 1.01 * memory.parameters
    assert memory.batch == 5 * 8 * 64 * 4 / 4
    assert memory.temporary > memory.parameters  # the gradients at least
    assert memory.total > least_bytes(WORK, 8, (memory.parameters, memory.optimizer))


def test_collectives_grow_with_the_layers(eight, planned):
    deeper = dataclasses.replace(WORK, model=dataclasses.replace(MODEL, num_layers=6))
    more = estimate(deeper, eight)
    assert 1.7 < more.counts.sent_bytes / planned.counts.sent_bytes < 2.0
    assert more.total_flops / planned.total_flops == pytest.approx(
        deeper.model_flops / WORK.model_flops, rel=0.02
    )


def test_local_devices_have_no_figures_and_fit(planned):
    assert planned.step_s is None
    assert planned.hours() is None
    assert planned.fits


def test_impossible_shapes_are_refused(eight):
    with pytest.raises(ValueError, match="6 rows cannot be split over 4 devices"):
        compile_step(dataclasses.replace(WORK, rows=6), eight.devices)
    with pytest.raises(ValueError, match="cannot be cut into 3 microbatches"):
        compile_step(dataclasses.replace(WORK, step=StepConfig(microbatches=3)), eight.devices)
    with pytest.raises(ValueError, match="needs 16 devices, there are 8"):
        compile_step(dataclasses.replace(WORK, mesh=MeshConfig(4, 2, 2)), eight.devices)


def made_up(hbm: float, total: int = 10 * 2**30, text: str = "x", steps: int = 3600) -> Estimate:
    """An estimate of a program that sends nothing: 2 s of compute, 1 s of memory."""
    chip = chips()["v3"]
    counts = Counts(matrix_flops=2 * chip.device_flops("bfloat16"))
    work = dataclasses.replace(WORK, steps=steps)
    topology = Topology("v3:1x1", list(range(2)), chip, (1, 1))
    program = Program(Memory(total, 0, 0, 0, 0), text, [], 1.0)
    return Estimate(topology, work, program, counts, hbm, 2.0, 1.0, 0.5)


def test_hours_energy_and_cost_follow_from_the_roofline():
    made = made_up(16 * 2**30)
    assert (made.fits, made.step_s, made.bound) == (True, 2.0, "compute")
    assert made.hours() == pytest.approx(2.0)
    assert made.hours(0.5) == pytest.approx(4.0)
    assert made.kilowatt_hours(0.5) == pytest.approx(4 * 0.220 * 1.3)
    assert made.dollars(0.5) == pytest.approx(8.0)
    assert made.dollars(0.5, price=1.5) == pytest.approx(6.0)


def test_what_does_not_fit_says_so():
    assert not made_up(9 * 2**30).fits
    refused = made_up(16 * 2**30, text="")  # the compiler gave up
    assert not refused.fits
    assert refused.step_s is None


class TooLarge:
    """A step that XLA refuses to compile, in libtpu's words."""

    def lower(self, *arguments):
        return self

    def compile(self, compiler_options):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total "
            "memory required for HLO temporaries (15.75G) exceeds available HBM (15.48G)."
        )


def test_what_the_compiler_says_of_too_large_a_step_is_kept(eight, monkeypatch):
    monkeypatch.setattr("flan.planning.program.make_train_step", lambda *arguments: TooLarge())
    made = estimate(WORK, Topology("v3", eight.devices, chips()["v3"]))
    assert not made.fits
    assert made.program.memory.total == pytest.approx(15.75 * 2**30)
    assert made.hbm_bytes == pytest.approx(15.48 * 2**30)
    assert made.hours() is None
    assert made.to_json()["fits"] is False


PRINTED = """ENTRY %main (p: f32[8,8]) -> f32[8,8] {
  %p = f32[8,8]{1,0} parameter(0)
  ROOT %d = f32[8,8]{1,0} dot(%p, %p), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""


class Unreadable:
    """A program with instructions that jaxlib does not know."""

    def lower(self, *arguments):
        return self

    def compile(self, compiler_options):
        if compiler_options:
            folder = Path(compiler_options["xla_dump_to"])
            (folder / "module_0.jit_step.after_optimizations.txt").write_text(PRINTED)
        return self

    def memory_analysis(self):
        return SimpleNamespace(
            output_size_in_bytes=0,
            alias_size_in_bytes=0,
            temp_size_in_bytes=7,
            generated_code_size_in_bytes=0,
        )

    def as_text(self):
        raise jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK failure async-update\nmore")


def test_a_program_for_tpus_is_taken_as_the_compiler_printed_it(eight, monkeypatch):
    monkeypatch.setattr("flan.planning.program.make_train_step", lambda *arguments: Unreadable())
    monkeypatch.setattr("flan.planning.program._is_tpu", lambda devices: True)
    made = estimate(WORK, Topology("v5p", eight.devices, chips()["v5p"]))
    assert made.program.text == PRINTED
    assert made.program.memory.temporary == 7
    assert made.counts.matrix_flops == 2 * 8 * 8 * 8


def test_a_libtpu_of_another_version_is_named_with_its_remedy(eight, monkeypatch):
    monkeypatch.setattr("flan.planning.program.make_train_step", lambda *arguments: Unreadable())
    with pytest.raises(ValueError, match=r"RET_CHECK failure async-update\); .*jax\[tpu\]=="):
        estimate(WORK, Topology("v3", eight.devices, chips()["v3"]))


def test_candidates_are_possible_and_the_search_takes_the_best(eight, monkeypatch):
    four = Topology("cpu:4", eight.devices[:4], None)
    work = dataclasses.replace(WORK, rows=2, length=16)
    found = [candidate for candidate, _ in candidates(work, four)]
    meshes = {dataclasses.astuple(w.mesh)[:3] for w in found}
    assert (1, 1, 4) in meshes
    assert (4, 1, 1) not in meshes  # two rows cannot be split in four
    assert {w.model.remat for w in found} == {"none", "dots", "full"}
    assert {w.step.microbatches for w in found} == {1, 2}
    # What compiling each would say: too large, slow, fast, slow.
    said = [
        made_up(9 * 2**30),
        *(dataclasses.replace(made_up(2**34), compute_s=s) for s in (5, 3, 4)),
    ]
    monkeypatch.setattr("flan.planning.search.estimate", lambda w, t: said[len(reported)])
    reported = []
    result = search(work, four, 4, reported.append)
    assert result.tried == reported == said
    assert result.left == len(found) - 4
    assert result.best is said[2]


def test_candidates_that_cannot_fit_are_not_compiled(eight):
    small = dataclasses.replace(chips()["h100"], hbm_gib=1e-6)
    result = search(WORK, Topology("small", eight.devices[:1], small), 2)
    assert result.tried == []
    assert result.best is None
    assert result.too_large == 4 * 3  # 1 to 8 microbatches, each remat policy


def test_a_batch_that_goes_with_no_mesh_is_refused(eight):
    odd = dataclasses.replace(WORK, rows=3, model=dataclasses.replace(MODEL, num_heads=3))
    with pytest.raises(ValueError, match="no mesh of 8 devices goes with a batch of 3 rows"):
        search(odd, eight, 1)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_a_plan_for_a_tpu_that_is_not_here():
    model = dataclasses.replace(MODEL, dtype="bfloat16", d_model=128, d_ff=512)
    work = dataclasses.replace(WORK, model=model, length=128)
    made = estimate(work, find_topology("v3:2x2"))
    assert made.fits
    assert made.total_flops == pytest.approx(work.model_flops, rel=0.02)
    assert made.step_s > 0
    assert not made.counts.unknown_loops
    assert {"all-gather", "all-reduce"} <= set(made.sent_by_kind())
    assert jax.default_backend() == "cpu"
