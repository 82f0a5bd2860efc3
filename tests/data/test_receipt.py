import dataclasses
import json

import pytest

from flan.data.receipt import Receipt, ReceiptLine


def receipt() -> Receipt:
    lines = (
        ReceiptLine("rte", 2490, 2490, 2490, 2490, 0.9, 3, 900.0, 901, 120_000, 4000, 0.36),
        ReceiptLine("wnli", 635, 600, 600, 277, 0.1, 0, 100.0, 99, 9_000, 400, 0.165),
        ReceiptLine("idebate", 0, 0, 0, 0, 0.0, 0, 0.0, 0, 0, 0, 0.0),
    )
    return Receipt(30_000, 3_000, 200, lines, density=0.9987)


def test_table_has_a_line_each_the_sum_and_what_is_empty():
    table = receipt().table().splitlines()
    assert table[0].split()[:5] == ["dataset", "found", "kept", "used", "rate"]
    assert table[2].split() == (
        [
            "rte",
            "2,490",
            "2,490",
            "2,490",
            "2,490",
            "90.00%",
            "3",
            "900.0",
            "901",
            "120,000",
            "4,000",
            "0.36",
        ]
    )
    assert table[6].split()[:6] == ["3", "datasets", "3,125", "3,090", "3,090", "2,767"]
    assert "100.00%" in table[6]
    assert "1,000" in table[6]
    assert table[7].endswith("idebate")
    assert table[8] == (
        "cap 30,000 rows, rate limit 3,000, 200 steps, 99.87% of the tokens are not padding"
    )
    ends = {len(line) for line in (table[0], table[2], table[3], table[4])}
    assert len(ends) == 1


def test_table_before_anything_was_observed():
    line = ReceiptLine("rte", 10, 10, 10, 10, 1.0, 0, 5.0)
    table = Receipt(30_000, 3_000, 5, (line,)).table()
    assert "None" not in table
    assert "padding" not in table


def test_json_round_trip():
    value = json.loads(json.dumps(receipt().to_json()))
    assert Receipt.from_json(value) == receipt()


def test_hash_is_of_the_mixture_not_of_the_run():
    before = receipt()
    lines = tuple(dataclasses.replace(v, observed=1, tokens=2, epochs=0.1) for v in before.lines)
    assert dataclasses.replace(before, steps=9, lines=lines, density=None).hash == before.hash
    other = (dataclasses.replace(before.lines[0], kept=2489), *before.lines[1:])
    assert dataclasses.replace(before, lines=other).hash != before.hash


def test_foreign_json_is_refused():
    with pytest.raises(ValueError, match="not a mixture receipt"):
        Receipt.from_json({"cap": 1})
    value = receipt().to_json()
    value["lines"][0]["kept"] = 1
    with pytest.raises(ValueError, match="hash"):
        Receipt.from_json(value)
