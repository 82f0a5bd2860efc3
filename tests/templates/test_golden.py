"""Each dataset's golden row renders as it did when somebody last read it."""

import pytest
from update_golden import GOLDEN, NAMES, golden_fields, golden_text

from flan.catalog import get_dataset
from flan.templates import load_templates
from flan.templates.lint import check_templates


@pytest.mark.parametrize("name", NAMES)
def test_golden_rendering(name):
    expected = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert golden_text(name) == expected, (
        f"{name} renders otherwise: if it should, run `python tests/templates/update_golden.py "
        f"{name}` and read the diff of tests/golden/{name}.txt"
    )


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_find_on_the_golden_row(name):
    assert check_templates(get_dataset(name), load_templates(name), [golden_fields(name)]) == []


def test_one_row_and_one_text_per_dataset():
    assert {path.stem for path in (GOLDEN / "rows").glob("*.json")} == set(NAMES)
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(NAMES)
