"""Names of topologies, with libtpu and without."""

from __future__ import annotations

import importlib.util

import pytest

from flan.models.flops import peak_flops
from flan.planning import topology
from flan.planning.chips import chips
from flan.planning.topology import Topology, find_topology

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
needs_libtpu = pytest.mark.skipif(not HAS_LIBTPU, reason="libtpu is not installed")


def test_every_chip_has_plausible_figures_and_their_source():
    for chip in chips().values():
        assert chip.source
        assert bool(chip.names) != bool(chip.kinds), chip.name
        # Bytes of memory a bfloat16 operation may read: none does more than a few per hundred.
        assert 0.001 < chip.hbm_gb_s / chip.bf16_tflops / 1000 < 0.03, chip.name
        assert 0.01 < chip.link_gb_s / chip.hbm_gb_s < 0.2, chip.name
        assert 50 < chip.watts < 1000
        for kind in chip.kinds:  # what `flan train` shows utilization against
            assert peak_flops(kind) == pytest.approx(chip.device_flops("bfloat16"), rel=0.03)
        assert chip.device_hbm_bytes * chip.devices == chip.hbm_gib * 2**30


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("v3-8", (2, 2)),
        ("v3-32", (4, 4)),
        ("v3-128", (8, 8)),
        ("v3-256", (8, 16)),
        ("v2-8", (2, 2)),
        ("v4-8", (2, 2, 1)),
        ("v4-32", (2, 2, 4)),
        ("v4-64", (2, 4, 4)),
        ("v4-128", (4, 4, 4)),
        ("v5p-64", (2, 4, 4)),
        ("v5p-256", (4, 4, 8)),
        ("v5e-8", (2, 4)),
        ("v5litepod-16", (4, 4)),
        ("v6e-1", (1, 1)),
        ("v6e-256", (16, 16)),
    ],
)
def test_counted_names_have_the_usual_shapes(name, sides):
    prefix, _, count = name.partition("-")
    chip = next(c for c in chips().values() if prefix in c.names)
    assert topology._sides(chip, int(count), name) == sides


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9:8x8", "unknown topology 'v9:8x8'.*Did you mean"),
        ("tpu-v3-129", "power of two of cores, got 129; try v3-128"),
        ("v6e-6", "power of two of chips, got 6; try"),
        ("v3-0", "got 0"),
        ("v3:8x8x8", "v3 slices have 2 axes"),
        ("v4:8x8", "v4 slices have 3 axes, as in v4:4x4x4"),
        ("v3:0x8", "v3 slices have 2 axes"),
        ("", "unknown topology ''"),
        ("2xv3:8x8", "2 slices of v3.*several of v4, v5e, v5p, v6e"),
        ("0xv4:4x4x4", "0 slices of v4; there are 1 or more"),
        ("2xv5p-63", "power of two of cores, got 63"),
        ("2xcpu:4", "unknown topology '2xcpu:4'"),
        ("cpu:9", "asks for 9 devices, there are 8"),
    ],
)
def test_names_that_mean_nothing_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        find_topology(name)


def test_without_libtpu_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "flan-jax\[tpu-planning\]"'):
        find_topology("v3:8x8")


def test_local_devices():
    assert len(find_topology("cpu").devices) == 8
    assert len(find_topology("cpu:4").devices) == 4
    assert find_topology("cpu:4").num_chips == 4


class Device:
    def __init__(self, *coords: int) -> None:
        self.coords = coords


def test_a_group_sends_along_the_axes_it_is_spread_over():
    chip = chips()["v3"]
    slice_ = Topology("v3:8x8", [], chip, (8, 8))
    row = [Device(x, 0, 0) for x in range(8)]
    plane = [Device(x, y, 0) for x in range(8) for y in range(8)]
    one_way = chip.link_gb_s * 1e9 / 2  # two cores share a chip's links
    assert slice_.bandwidth(row) == pytest.approx(one_way)  # 8 of 32: no ring
    assert slice_.bandwidth(plane) == pytest.approx(2 * one_way)
    pod = Topology("v3:32x32", [], chip, (32, 32))
    assert pod.bandwidth([Device(x, 0, 0) for x in range(32)]) == pytest.approx(2 * one_way)
    both = Topology("2xv5p:4x4x4", [], chips()["v5p"], (4, 4, 4))
    assert both.bandwidth([]) == pytest.approx(50e9 / 8)
    assert slice_.bandwidth([]) is None
    gpu = Topology("gpu:8", [], chips()["h100"])
    assert gpu.bandwidth(row) == pytest.approx(450e9)
    assert Topology("cpu:8", [], None).bandwidth(row) is None


@needs_libtpu
@pytest.mark.parametrize(
    ("name", "devices", "number", "num_chips", "slices"),
    [
        ("v3:8x8", "TPU v3", 128, 64, 1),
        ("tpu-v3-128", "TPU v3", 128, 64, 1),
        ("v4-128", "TPU v4", 64, 64, 1),  # a megacore is one device
        ("v5p-64", "TPU v5", 32, 32, 1),
        ("v5litepod-16", "TPU v5 lite", 16, 16, 1),
        ("v6e-8", "TPU v6 lite", 8, 8, 1),
        ("v6e-1", "TPU v6 lite", 1, 1, 1),
        ("2xv4:2x2x1", "TPU v4", 8, 8, 2),
        ("3xv5e-1", "TPU v5 lite", 3, 3, 3),
    ],
)
def test_slices_as_libtpu_describes_them(name, devices, number, num_chips, slices):
    found = find_topology(name)
    assert {d.device_kind for d in found.devices} == {devices}
    assert (len(found.devices), found.num_chips) == (number, num_chips)
    assert len({getattr(d, "slice_index", None) for d in found.devices}) == slices
    assert found.chip is not None
    assert peak_flops(devices) == pytest.approx(found.chip.device_flops("bfloat16"), rel=0.03)


@needs_libtpu
def test_a_shape_that_libtpu_refuses():
    with pytest.raises(ValueError, match=r"v3:3x3.*libtpu says"):
        find_topology("v3:3x3")
