"""Counting in compiled programs: operations, loops, memory, collectives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flan.planning import hlo
from flan.planning.counts import Counts, count


def compiled(function, *shapes, num_devices: int = 1) -> tuple[Counts, object]:
    program = jax.jit(function).lower(*shapes).compile()
    return count(program.as_text(), num_devices), program


def floats(*dims: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(dims, jnp.float32)


def test_a_product_counts_two_operations_a_multiply_add():
    counts, program = compiled(lambda a, b: a @ b, floats(32, 48), floats(48, 64))
    assert counts.matrix_flops == 2 * 32 * 48 * 64
    assert counts.matrix_flops == pytest.approx(program.cost_analysis()["flops"], rel=0.01)


def test_batched_and_transposed_products():
    counts, _ = compiled(
        lambda a, b: jnp.einsum("bik,bjk->bij", a, b), floats(4, 8, 16), floats(4, 6, 16)
    )
    assert counts.matrix_flops == 2 * 4 * 8 * 6 * 16


def test_a_convolution_counts_places_that_meet_the_input():
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    counts, _ = compiled(convolve, floats(2, 8, 8, 3), floats(3, 3, 3, 5))
    # Three taps an axis, less the two that fall off its ends.
    assert counts.matrix_flops == 2 * 2 * (8 * 3 - 2) ** 2 * 3 * 5


def test_bodies_of_nested_loops_count_as_often_as_they_run():
    def nested(x, weights):
        def outer(carry, w):
            def inner(c, _):
                return jnp.tanh(c @ w), None

            return jax.lax.scan(inner, carry, None, length=3)[0], None

        return jax.lax.scan(outer, x, weights)[0]

    counts, program = compiled(nested, floats(8, 64), floats(5, 64, 64))
    assert counts.matrix_flops == 15 * 2 * 8 * 64 * 64
    assert program.cost_analysis()["flops"] < counts.matrix_flops / 10  # the reason for all this
    assert not counts.unknown_loops
    # Each of the five weights is read three times, and nothing reads all of them.
    assert 15 * 64 * 64 * 4 < counts.memory_bytes < 3 * 15 * 64 * 64 * 4


def test_trip_counts_without_xlas_own_figure():
    def loop(x):
        return jax.lax.scan(lambda c, _: (jnp.sin(c @ c), None), x, None, length=7)[0]

    text = jax.jit(loop).lower(floats(16, 16)).compile().as_text()
    assert "known_trip_count" in text
    plain = text.replace("known_trip_count", "something_else")
    assert count(plain).matrix_flops == count(text).matrix_flops == 7 * 2 * 16**3


def test_a_loop_that_nobody_can_count_is_named():
    def until(x):
        return jax.lax.while_loop(lambda c: jnp.sum(c) < 100.0, lambda c: c @ c + 1.0, x)

    counts, _ = compiled(until, floats(16, 16))
    assert len(counts.unknown_loops) == 1
    assert counts.matrix_flops == 2 * 16**3


def test_the_costliest_branch_counts():
    def branch(flag, x):
        return jax.lax.cond(flag, lambda a: a @ a @ a, lambda a: a + 1.0, x)

    counts, _ = compiled(branch, jax.ShapeDtypeStruct((), jnp.bool_), floats(16, 16))
    assert counts.matrix_flops in (0, 2 * 2 * 16**3)
    assert counts.matrix_flops


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((2, 4), ("a", "b"), (AxisType.Auto,) * 2)


def on(mesh, spec: P, *dims: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(dims, jnp.float32, sharding=NamedSharding(mesh, spec))


def test_a_partitioned_product_is_counted_for_one_device(mesh):
    whole = NamedSharding(mesh, P())
    program = (
        jax.jit(lambda a, b: a @ b, out_shardings=whole)
        .lower(on(mesh, P(None, "b"), 32, 64), on(mesh, P("b", None), 64, 16))
        .compile()
    )
    counts = count(program.as_text(), 8)
    assert counts.matrix_flops == 2 * 32 * 16 * 64 / 4
    # The partial sums of four devices: twice three quarters of the result.
    assert dict(counts.collectives) == {("all-reduce", (0, 1, 2, 3)): 2 * 32 * 16 * 4 * 3 / 4}


def test_a_gather_along_the_other_axis(mesh):
    program = (
        jax.jit(lambda a: a * 2.0, out_shardings=NamedSharding(mesh, P()))
        .lower(on(mesh, P("a"), 64, 16))
        .compile()
    )
    counts = count(program.as_text(), 8)
    assert dict(counts.collectives) == {("all-gather", (0, 4)): 32 * 16 * 4}


def test_collectives_inside_loops_count_as_often_as_they_run(mesh):
    def loop(x, weights):
        return jax.lax.scan(lambda c, w: (jnp.tanh(c @ w), None), x, weights)[0]

    program = (
        jax.jit(loop)
        .lower(on(mesh, P("a", None), 16, 64), on(mesh, P(None, None, "b"), 5, 64, 64))
        .compile()
    )
    gathered = count(program.as_text(), 8).collectives["all-gather", (0, 1, 2, 3)]
    assert gathered == 5 * 3 * 8 * 16 * 4


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("nonsense\n%a (b: f32[]) -> f32[] {\n}\n")
