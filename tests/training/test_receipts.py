"""What a run has read, held against what the mixture promised."""

import json

import numpy as np
import pytest

from flan.data.loader import open_train_data
from flan.data.receipt import Receipt, ReceiptLine
from flan.testing.examples import array_examples
from flan.training.receipts import off_expected, record_observed


def receipt(expected: float, observed: int, rate_limit: int | None = 3000) -> Receipt:
    shared = {"found": 100, "kept": 100, "used": 100, "rate": 100, "cut": 0, "probability": 0.5}
    lines = (
        ReceiptLine("rte", expected=expected, observed=observed, **shared),
        ReceiptLine("cb", expected=expected, observed=round(expected), **shared),
    )
    return Receipt(30_000, rate_limit, 10, lines)


@pytest.mark.parametrize(
    ("expected", "observed", "off"),
    [
        (0.4, 1, False),  # a single step cannot give anyone a fraction
        (100, 149, False),
        (100, 160, True),
        (100, 0, True),
        # Whole windows are exact, however many there are: the allowance stops growing.
        (1_000_000, 1_000_400, False),
        (1_000_000, 1_000_700, True),
    ],
)
def test_what_counts_as_off(expected, observed, off):
    assert [v.dataset for v in off_expected(receipt(expected, observed))] == ["rte"] * off


def test_raw_text_promises_no_shares():
    assert not off_expected(receipt(100, 0, rate_limit=None))


def test_a_difference_is_written_and_told(tmp_path, caplog):
    record_observed(tmp_path, receipt(100, 7))
    assert "rte: 7 examples read where the mixture promised 100.0" in caplog.text
    written = Receipt.from_json(json.loads((tmp_path / "receipt.json").read_text()))
    assert [line.observed for line in written.lines] == [7, 100]


@pytest.mark.parametrize("seed", range(2))
def test_no_run_of_very_unlike_examples_is_off(seed):
    lengths = {"long": (900, 600), "short": (900, 20), "few": (30, 300)}
    caches = {
        name: [array_examples(name, np.full(rows, length), np.full(rows, 5))]
        for name, (rows, length) in lengths.items()
    }
    data = open_train_data(list(caches), caches, batch_size=4, length=640, steps=300, seed=seed)
    for steps in (1, 20, 150, 300):
        assert not off_expected(data.observe(steps))
