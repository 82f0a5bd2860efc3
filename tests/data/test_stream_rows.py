"""Rows of a stream: every example once, the same for any host, from any step."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data import stream_rows
from flan.data.stream_rows import Chunk, RowStream, with_prefix

WINDOW, LENGTH, TARGETS = 50, 40, 12


@pytest.fixture(autouse=True, scope="module")
def small_windows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_rows, "WINDOW", WINDOW)
        yield


def chunks(count=10_000, seed=0, at_once=17, tasks=3):
    """A stream whose tokens are all different."""
    rng = np.random.default_rng(seed)
    first = 0
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        targets = rng.integers(0, TARGETS + 1, size)
        inputs = rng.integers(1, LENGTH - TARGETS + 1, size)
        lengths = inputs + targets
        tokens = np.arange(first, first + lengths.sum(), dtype=np.int32)
        first += int(lengths.sum())
        yield Chunk(tokens, lengths, inputs, rng.integers(0, tasks, size))


def stream(source=None, **options):
    defaults = {"tasks": 3, "row_length": LENGTH, "longest_targets": TARGETS, "batch_size": 4}
    return RowStream(chunks() if source is None else source, **{**defaults, **options})


def examples(chunk):
    """(tokens, input length) of each example of a chunk or of step rows."""
    parts = np.split(chunk.tokens, np.cumsum(chunk.lengths)[:-1])
    return [(tuple(p.tolist()), int(n)) for p, n in zip(parts, chunk.input_lengths, strict=True)]


def all_rows(rows, examples):
    """Row by row; then there are no more."""
    while rows.counts[0].sum() < examples:
        yield rows.next_rows()
    with pytest.raises(ValueError, match=f"ended after {examples} examples"):
        rows.next_rows()


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@settings(max_examples=8)
@given(st.integers(0, 5), st.integers(1, 40), st.integers(0, 3))
def test_every_example_of_a_window_is_read_once(seed, at_once, order):
    rows = stream(chunks(600, seed, at_once), seed=order, batch_size=1)
    expected = [e for chunk in chunks(600, seed, at_once) for e in examples(chunk)]
    found, counts = [], []
    for row in all_rows(rows, 600):
        assert row.lengths.sum() == len(row.tokens) <= LENGTH
        assert (row.lengths - row.input_lengths).sum() <= rows.max_targets
        assert row.counts.tolist() == [len(row.lengths)]
        found += examples(row)
        counts.append(rows.counts.copy())
    assert len(found) == 600
    for start in range(0, 600, WINDOW):
        assert sorted(found[start : start + WINDOW]) == expected[start : start + WINDOW]
    tokens = sum(len(e) for e, _ in found)
    targets = sum(len(e) - inputs for e, inputs in found)
    assert counts[-1].sum(axis=1).tolist() == [600, tokens, targets]


def test_counts_are_by_task():
    rows = stream(chunks(4 * WINDOW), batch_size=1)
    for _ in all_rows(rows, 4 * WINDOW):
        counts = rows.counts.copy()
    task = np.concatenate([chunk.tasks for chunk in chunks(4 * WINDOW)])
    assert counts[0].tolist() == np.bincount(task).tolist()


@settings(max_examples=8)
@given(st.integers(0, 120), st.integers(0, 3))
def test_reading_on_from_a_step_is_reading_all(step, seed):
    through, skipping = stream(seed=seed), stream(seed=seed)
    for _ in range(step):
        through.next_rows()
    steps = []
    skipping.skip_to(step, steps.append)
    assert np.array_equal(through.counts, skipping.counts)
    for _ in range(3):
        assert same(through.next_rows(), skipping.next_rows())
    assert steps == sorted(steps)
    assert steps[-1:] == [step][: len(steps)]
    for rows in (through, skipping):
        rows.close()


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_read_parts_of_one_batch(hosts):
    whole = stream()
    parts = [stream(host=host, hosts=hosts) for host in range(hosts)]
    for _ in range(40):
        expected = whole.next_rows()
        found = [part.next_rows() for part in parts]
        joined = [np.concatenate(arrays) for arrays in zip(*found, strict=True)]
        assert same(joined, expected)
        assert all(np.array_equal(part.counts, whole.counts) for part in parts)
    assert {part.digest for part in parts} == {whole.digest}
    for rows in (whole, *parts):
        rows.close()


def test_other_streams_have_another_digest():
    found = {stream(chunks(100, seed, tasks=tasks)).digest for seed in (0, 1) for tasks in (2, 3)}
    assert len(found) == 4
    assert stream(chunks(100, at_once=9)).digest == stream(chunks(100, at_once=9)).digest


def test_the_seed_orders_rows():
    one, two = stream(seed=0).next_rows(), stream(seed=1).next_rows()
    assert not same(one, two)


def test_target_limit_holds_for_later_windows():
    few = Chunk(np.arange(600, dtype=np.int32), np.full(60, 10), np.full(60, 9), np.zeros(60, int))
    many = Chunk(np.arange(600, dtype=np.int32), np.full(60, 10), np.zeros(60, int), few.tasks)
    rows = stream(iter([few] * 2 + [many] * 9), tasks=1, longest_targets=10, row_length=100)
    assert rows.max_targets == 64
    for _ in range(12):
        row = rows.next_rows()
        ends = np.cumsum(row.counts)
        targets = np.cumsum(np.r_[0, row.lengths - row.input_lengths])
        assert (targets[ends] - targets[ends - row.counts]).max() <= 64
    rows.close()


def test_text_without_inputs_may_be_all_loss():
    text = Chunk(
        np.arange(600, dtype=np.int32), np.full(60, 10), np.zeros(60, int), np.zeros(60, int)
    )
    rows = stream(iter([text]), tasks=1, longest_targets=40)
    assert rows.max_targets == LENGTH
    assert rows.mean_length == 10


def test_the_last_token_is_told_where_it_is_always_the_same():
    ends = np.tile(np.array([5, 6, 1], np.int32), 60)
    chunk = Chunk(ends, np.full(60, 3), np.ones(60, int), np.zeros(60, int))
    assert stream(iter([chunk]), tasks=1).ends_in == 1
    assert stream().ends_in is None


def test_progress_of_the_first_window():
    told = []
    stream(progress=told.append).close()
    assert told == [17, 34, 50]


def bad(lengths, inputs):
    lengths, inputs = np.array(lengths), np.array(inputs)
    return iter([Chunk(np.zeros(lengths.sum(), np.int32), lengths, inputs, inputs * 0)])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (iter(()), "has no examples"),
        (bad([5, 41], [3, 3]), "41 tokens and a row 40"),
        (bad([5, 9], [5, 9]), "none of the stream's first 2 examples has target tokens"),
    ],
)
def test_streams_that_cannot_be_trained_on(source, told):
    with pytest.raises(ValueError, match=told):
        stream(source, tasks=1)


def test_a_stream_s_own_error_comes_where_it_stands():
    def failing():
        yield from chunks(2 * WINDOW)
        raise KeyError("lost")

    rows = stream(failing())
    with pytest.raises(KeyError, match="lost"):
        rows.skip_to(1000)
    assert rows.counts[0].sum() >= WINDOW


def test_the_thread_stops():
    before = set(threading.enumerate())
    rows = stream()
    (thread,) = set(threading.enumerate()) - before
    rows.close()
    assert not thread.is_alive()


def test_a_prefix_stands_before_each_example_and_counts_as_input():
    plain = next(chunks(40))
    found = with_prefix(plain, (901, 902))
    assert found.lengths.tolist() == (plain.lengths + 2).tolist()
    assert found.input_lengths.tolist() == (plain.input_lengths + 2).tolist()
    prefixed = [((901, 902, *tokens), 2 + inputs) for tokens, inputs in examples(plain)]
    assert examples(found) == prefixed
    assert with_prefix(plain, ()) is plain
