"""Rows hold each piece once, within their limits, and say rightly what is predicted where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.evaluation import option_rows
from flan.evaluation.option_rows import Piece, batches, split_request
from flan.evaluation.shapes import BatchShapes

SHAPES = BatchShapes(row_length=96, batch_rows=2, shortest=24)


def random_pieces(seed, count):
    rng = np.random.default_rng(seed)

    def ids(most):
        return tuple(int(i) for i in rng.integers(3, 90, rng.integers(1, most + 1)))

    found = []
    for number in range(count):
        prefix = ids(rng.choice([3, 20, 60]))
        options = tuple(ids(rng.choice([1, 4, 30])) for _ in range(rng.integers(1, 6)))
        found += split_request(number, prefix, options, SHAPES)
    return found


def sequences(arrays, row):
    """(prefix, option) -> [(read, predicted)] as the arrays of a row tell it."""
    found = []
    segments, options = arrays.segment_ids[row], arrays.option_ids[row]
    picks = list(zip(arrays.slots[row], arrays.wanted[row], strict=True))
    for segment in range(1, segments.max(initial=0) + 1):
        here = segments == segment
        prefix = tuple(arrays.tokens[row, here & (options == 0)])
        positions = arrays.positions[row, here & (options == 0)]
        assert list(positions) == list(range(len(prefix)))
        for option in range(1, options[here].max(initial=0) + 1):
            own = here & (options == option)
            after = list(arrays.positions[row, own])
            assert after == list(range(len(prefix), len(prefix) + len(after)))
        found.append((segment, prefix))
    return found, picks


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_rows_hold_each_piece_once_and_within_limits(seed, count):
    pieces = random_pieces(seed, count)
    packed = []
    for rows, arrays in batches(pieces, SHAPES):
        assert len(rows) <= len(arrays.tokens) == SHAPES.rows_of(rows[0].shape)
        assert arrays.tokens.shape[1] == rows[0].shape.length
        for r, row in enumerate(rows):
            assert row.shape == rows[0].shape
            packed += row.pieces
            prefixes, picks = sequences(arrays, r)
            assert [p for _, p in prefixes] == [p.prefix for p in row.pieces]
            at = 0
            for (segment, prefix), piece in zip(prefixes, row.pieces, strict=True):
                for option in piece.options:
                    # Each wanted token follows what its place and those before it read.
                    for step, token in enumerate(option):
                        slot, wanted = picks[at]
                        place = arrays.places[r, slot]
                        assert wanted == token
                        assert arrays.segment_ids[r, place] == segment
                        assert arrays.positions[r, place] == len(prefix) - 1 + step
                        read = option[step - 1] if step else prefix[-1]
                        assert arrays.tokens[r, place] == read
                        at += 1
    key = lambda p: (p.request, p.first)  # noqa: E731
    assert sorted(packed, key=key) == sorted(pieces, key=key)


def test_pieces_wait_for_company(monkeypatch):
    """Windows do not end in half-empty batches; only the last one may."""
    monkeypatch.setattr(option_rows, "_WINDOW", 16)
    pieces = [Piece(i, 0, (5,) * 10, ((6, 7), (8,))) for i in range(103)]
    filled = [sum(r.length for r in rows) for rows, _ in batches(pieces, SHAPES)]
    assert sum(filled) == 11 * 103
    assert all(f > 0.8 * 2 * 96 for f in filled[:-1])


def test_a_request_is_split_where_its_options_do_not_fit_together():
    prefix, options = (5,) * 60, ((6,) * 20, (7,) * 20, (8,) * 37, (9,))
    pieces = list(split_request(3, prefix, options, SHAPES))
    assert [(p.first, len(p.options)) for p in pieces] == [(0, 1), (1, 1), (2, 2)]
    assert sum((p.options for p in pieces), ()) == options
    with pytest.raises(ValueError, match="97 tokens does not fit into rows of 96"):
        list(split_request(0, prefix, ((6,) * 38,), SHAPES))


def test_shapes_are_few_and_divide_over_devices():
    shapes = BatchShapes(row_length=1280, batch_rows=2, multiple=8)
    assert shapes.lengths == (128, 256, 512, 1024, 1280)
    for length in shapes.lengths:
        assert shapes.rows_of(shapes.row(length, 2)) % 8 == 0
    with pytest.raises(ValueError, match="positive"):
        BatchShapes(multiple=0)
