"""Real rows, where FLAN_REAL_DATA names a folder of them: each renders, none breaks a rule."""

import itertools

import pytest

from flan.catalog import EXTRA, all_datasets, get_dataset
from flan.catalog.splits import SPLITS
from flan.data.rows import SourceReader, UnusableSource
from flan.templates import load_templates
from flan.templates.lint import check_templates

ROWS_PER_SPLIT = 400


@pytest.mark.real_data
@pytest.mark.parametrize("name", [*all_datasets(), *EXTRA])
def test_real_rows_render_through_all_templates(real_data, name):
    dataset = get_dataset(name)
    rows = []
    for source in dataset.sources:
        try:
            reader = SourceReader(real_data, dataset, source)
        except UnusableSource as error:
            if "(missing)" not in str(error):
                raise
            continue
        for split in SPLITS:
            found = itertools.islice(reader.fields(split), ROWS_PER_SPLIT)
            rows += [fields for _, fields in found if fields is not None]
    if not rows:
        pytest.skip(f"no rows of {name} in FLAN_REAL_DATA")
    assert check_templates(dataset, load_templates(name), rows) == []
