"""Forms of HLO that compiling on the CPU does not give: TPUs' and other versions'."""

from __future__ import annotations

import pytest

from flan.planning import hlo
from flan.planning.collectives import Collective, collective, first_group
from flan.planning.counts import count

# Written in the form that libtpu prints: tiled layouts, on-chip memory (S(1)), products as
# convolutions, a loop without a trip count, a sum that is scattered within a fusion.
TPU = """HloModule jit_step, is_scheduled=true, num_partitions=8

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(256)} parameter(0)
  %b = f32[]{:T(256)} parameter(1)
  ROOT %c = f32[]{:T(256)} add(%a, %b)
}

%all-reduce-scatter (input: f32[8192,1024]) -> f32[4096,1024] {
  %input = f32[8192,1024]{1,0:T(8,128)} parameter(0)
  %zero = u32[]{:T(256)} constant(0)
  %all-reduce.1 = f32[8192,1024]{1,0:T(8,128)} all-reduce(%input), channel_id=3, replica_groups=[4,2]<=[8], use_global_device_ids=true, to_apply=%sum
  ROOT %slice = f32[4096,1024]{1,0:T(8,128)} dynamic-slice(%all-reduce.1, %zero, %zero), dynamic_slice_sizes={4096,1024}
}

%fused (p0: bf16[4,128,512], p1: bf16[512,256]) -> f32[4,128,256] {
  %p0 = bf16[4,128,512]{2,1,0:T(8,128)(2,1)} parameter(0)
  %p1 = bf16[512,256]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  %weights = bf16[1,512,256]{2,1,0:T(8,128)(2,1)} bitcast(%p1)
  ROOT %convolution.1 = f32[4,128,256]{2,1,0:T(8,128)} convolution(%p0, %weights), window={size=1}, dim_labels=0bf_0io->0bf, metadata={op_name="jit(step)/while=\\"x\\"/dot_general"}
}

%body (state: (s32[], bf16[4,128,512], bf16[512,256])) -> (s32[], bf16[4,128,512], bf16[512,256]) {
  %state = (s32[]{:T(256)}, bf16[4,128,512]{2,1,0:T(8,128)(2,1)}, /*index=2*/bf16[512,256]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %i = s32[]{:T(256)} get-tuple-element(%state), index=0
  %x = bf16[4,128,512]{2,1,0:T(8,128)(2,1)} get-tuple-element(%state), index=1
  %w = bf16[512,256]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%state), index=2
  %one = s32[]{:T(256)} constant(1)
  %next = s32[]{:T(256)} add(%i, %one)
  %fusion.1 = f32[4,128,256]{2,1,0:T(8,128)} fusion(%x, %w), kind=kOutput, calls=%fused
  ROOT %out = (s32[]{:T(256)}, bf16[4,128,512]{2,1,0:T(8,128)(2,1)}, bf16[512,256]{1,0:T(8,128)(2,1)S(1)}) tuple(%next, %x, %w)
}

%condition (state.1: (s32[], bf16[4,128,512], bf16[512,256])) -> pred[] {
  %state.1 = (s32[]{:T(256)}, bf16[4,128,512]{2,1,0:T(8,128)(2,1)}, bf16[512,256]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %i.1 = s32[]{:T(256)} get-tuple-element(%state.1), index=0
  %limit = s32[]{:T(256)} constant(64)
  ROOT %less = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

ENTRY %main (x0: bf16[4,128,512], w0: bf16[512,256], g: f32[8192,1024]) -> f32[4096,1024] {
  %x0 = bf16[4,128,512]{2,1,0:T(8,128)(2,1)} parameter(0)
  %w0 = bf16[512,256]{1,0:T(8,128)(2,1)} parameter(1)
  %g = f32[8192,1024]{1,0:T(8,128)} parameter(2)
  %start = s32[]{:T(256)} constant(0)
  %near = bf16[512,256]{1,0:T(8,128)(2,1)S(1)} copy(%w0)
  %first = (s32[]{:T(256)}, bf16[4,128,512]{2,1,0:T(8,128)(2,1)}, bf16[512,256]{1,0:T(8,128)(2,1)S(1)}) tuple(%start, %x0, %near)
  %while.1 = (s32[]{:T(256)}, bf16[4,128,512]{2,1,0:T(8,128)(2,1)}, bf16[512,256]{1,0:T(8,128)(2,1)S(1)}) while(%first), condition=%condition, body=%body
  ROOT %scattered = f32[4096,1024]{1,0:T(8,128)} fusion(%g), kind=kCustom, calls=%all-reduce-scatter
}
"""


def test_a_program_as_libtpu_prints_it():
    counts = count(TPU, 8)
    assert counts.matrix_flops == 64 * 2 * (4 * 128) * 512 * 256
    assert not counts.unknown_loops
    assert dict(counts.collectives) == {("reduce-scatter", (0, 1)): 8192 * 1024 * 4 / 2}


def test_what_lies_on_the_chip_is_no_memory_traffic():
    weights, activations, out = 512 * 256 * 2, 4 * 128 * 512 * 2, 4 * 128 * 256 * 4
    gradient = 8192 * 1024 * 4
    loop_counters = 64 * (3 * 4 + 2 * 4 + 1)  # i + 1, i < 64
    expected = 64 * (activations + out) + weights + gradient * 3 / 2 + loop_counters
    assert count(TPU, 8).memory_bytes == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("attributes", "group"),
    [
        ("replica_groups={{0,2},{1,3}}, channel_id=1", (0, 2)),
        ("replica_groups={}", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("channel_id=1", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0), dimensions={0}", (0, 4)),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}, to_apply=%a", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=4] {'b':(1)2}", (0, 2)),
        ("replica_groups=mesh['a'=2,'b'=4] {'b':(2)2}", (0, 1)),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(0,4,2,6) {'b'}", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", (0, 1, 2, 3, 4, 5, 6, 7)),
    ],
)
def test_every_notation_of_groups(attributes, group):
    assert first_group(attributes, 8) == group


def line(text: str) -> hlo.Instruction:
    program = hlo.parse(f"ENTRY %main (p: f32[4]) -> f32[4] {{\n  {text}\n}}\n")
    (found,) = program.computations["main"].instructions.values()
    return found


def sent(text: str, operand: int) -> Collective | None:
    return collective(line(text), operand, 8)


def test_bytes_sent_by_each_kind():
    groups = "replica_groups=[2,4]<=[8]"
    group = (0, 1, 2, 3)
    assert sent(f"%a = f32[16] all-gather(%p), {groups}", 16) == Collective("all-gather", group, 48)
    assert sent(f"%a = f32[4] all-reduce(%p), {groups}", 16) == Collective("all-reduce", group, 24)
    assert sent(f"%a = f32[1] reduce-scatter(%p), {groups}", 16) == Collective(
        "reduce-scatter", group, 12
    )
    assert sent(f"%a = f32[4] all-to-all(%p), {groups}", 16) == Collective("all-to-all", group, 12)
    assert sent(
        "%a = f32[4] collective-permute(%p), source_target_pairs={{0,1},{1,0},{2,2},{3,3}}", 16
    ) == Collective("collective-permute", (0, 1), 8)
    assert sent("%a = f32[4] all-reduce(%p), replica_groups={{0},{1}}", 16) is None


MOVED = """%part (q: f32[128,100]) -> f32[32,100] {{
  %q = f32[128,100]{{1,0:T(8,128)}} parameter(0)
  ROOT %s = f32[32,100]{{1,0:T(8,128){space}}} slice(%q), slice={{[0:32], [0:100]}}
}}

ENTRY %main (p: f32[128,100]) -> f32[32,100] {{
  %p = f32[128,100]{{1,0:T(8,128)}} parameter(0)
  {started}
  ROOT %d = f32[32,100]{{1,0:T(8,128){space}}} {done}(%start)
}}
"""
RESULT = "((f32[128,100]{{1,0:T(8,128)}}), f32[32,100]{{1,0:T(8,128){space}}}, s32[]{{:S(2)}})"


@pytest.mark.parametrize(("space", "sides"), [("", 2), ("S(3)", 1)])
@pytest.mark.parametrize(
    ("operation", "done"),
    [
        ("slice-start(%p), slice={{[0:32], [0:100]}}", "slice-done"),
        ("async-start(%p), calls=%part", "async-done"),
    ],
)
def test_a_started_slice_moves_what_it_takes(space, sides, operation, done):
    # libtpu prints the second form, JAX's own printer the first.
    started = f"%start = {RESULT} {operation}".format(space=space)
    counts = count(MOVED.format(space=space, started=started, done=done), 1)
    assert counts.memory_bytes == sides * 32 * 100 * 4


@pytest.mark.parametrize(("space", "sides"), [("", 2), ("S(1)", 1)])
def test_a_started_copy_is_read_and_written_where_main_memory_is(space, sides):
    text = f"""ENTRY %main (p: f32[1024]) -> f32[1024] {{
  %p = f32[1024]{{0:T(1024)}} parameter(0)
  %s = (f32[1024]{{0:T(1024){space}}}, f32[1024]{{0:T(1024)}}, u32[]{{:S(2)}}) copy-start(%p)
  ROOT %d = f32[1024]{{0:T(1024){space}}} copy-done(%s)
}}
"""
    assert count(text, 1).memory_bytes == sides * 4096


@pytest.mark.parametrize(
    ("slices", "transfer", "kind", "size"),
    [
        ("1,2", "ALL_REDUCE", "all-reduce", 64),
        ("1:4", "ALL_REDUCE", "all-reduce", 96),
        ("1:2,4", "REDUCE_SCATTER", "reduce-scatter", 64 * 2 / 3),
        ("1,2,3", "ALL_GATHER", "all-gather", 128),
        ("1,2", "ONE_TO_ONE", "one-to-one", 64),
    ],
)
def test_what_goes_to_other_slices(slices, transfer, kind, size):
    # As libtpu prints it: the host takes a buffer, and gives another one back.
    handler = '_xla_host_transfer_handler_name="xla_megascale_runtime"'
    target = (
        f'_xla_megascale_target="{{{slices}}}x{{0:3}}",_xla_megascale_transfer_type="{transfer}"'
    )
    sends = f"channel_id=2, is_host_transfer=true, frontend_attributes={{{handler},{target}}}"
    text = f"""ENTRY %main (p: f32[16]) -> f32[16] {{
  %p = f32[16]{{0:T(8,128)}} parameter(0)
  %t = token[] after-all()
  %send = (f32[16]{{0:T(8,128)}}, u32[], token[]) send(%p, %t), {sends}
  %recv = (f32[16]{{0:T(8,128)}}, u32[], token[]) recv(%t), {sends}
  %d = token[] send-done(%send), channel_id=2, is_host_transfer=true
  %r = (f32[16]{{0:T(8,128)}}, token[]) recv-done(%recv), channel_id=1, is_host_transfer=true
  ROOT %g = f32[16]{{0:T(8,128)}} get-tuple-element(%r), index=0
}}
"""
    assert dict(count(text, 8).collectives) == {(f"{kind} between slices", ()): size}
    # Any other sending to a host is none of it.
    assert not count(text.replace("_xla_megascale", "_other"), 8).collectives


def test_started_collectives_count_once():
    text = """ENTRY %main (p: f32[4]) -> f32[16] {
  %p = f32[4]{0} parameter(0)
  %s = (f32[4]{0}, f32[16]{0}) all-gather-start(%p), replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %d = f32[16]{0} all-gather-done(%s)
}
"""
    assert dict(count(text, 4).collectives) == {("all-gather", (0, 1, 2, 3)): 48}


def test_operands_with_types_and_names_without_percent_signs():
    text = """ENTRY main.5 {
  a = f32[8,4]{1,0} parameter(0)
  b = f32[4,2]{1,0} parameter(1)
  ROOT dot.3 = f32[8,2]{1,0} dot(f32[8,4]{1,0} a, f32[4,2]{1,0} b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
    assert count(text).matrix_flops == 2 * 8 * 2 * 4


def test_a_batched_product_as_a_padded_convolution():
    """Sixteen heads as a window axis: of 16 x 31 places, 16 meet the input."""
    text = """ENTRY main {
  a = bf16[16,128,64]{2,1,0} parameter(0)
  b = bf16[16,32,64]{2,1,0} parameter(1)
  ROOT c = bf16[16,128,32]{2,1,0} convolution(a, b), window={size=16 stride=15 pad=0_0 lhs_dilate=16 rhs_reversal=0}, dim_labels=0bf_0oi->0bf
}
"""
    assert count(text).matrix_flops == 2 * 16 * 128 * 32 * 64


def test_library_products_count_and_other_library_calls_are_named():
    config = '{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}'
    text = f"""ENTRY main {{
  a = f32[8,4]{{1,0}} parameter(0)
  b = f32[4,2]{{1,0}} parameter(1)
  c = (f32[8,2]{{1,0}}, s8[64]{{0}}) custom-call(a, b), custom_call_target="__cublas$gemm", backend_config={config}
  ROOT d = f32[8,2]{{1,0}} custom-call(a), custom_call_target="__cudnn$fmhaSoftmax"
}}
"""
    counts = count(text)
    assert counts.matrix_flops == 2 * 8 * 2 * 4
    assert dict(counts.opaque) == {"__cudnn$fmhaSoftmax": 1}
