import pytest

from flan.catalog import EXTRA, all_datasets, get_dataset
from flan.data.example_rows import demo_examples, disk_examples


@pytest.mark.parametrize("name", [*all_datasets(), *EXTRA])
def test_demo_examples_of_every_dataset(name):
    dataset = get_dataset(name)
    examples = demo_examples(dataset, 3)
    assert {e.source for e in examples} == {s.name for s in dataset.sources}
    assert any(e.fields is not None for e in examples)
    assert examples == demo_examples(dataset, 3)
    assert examples != demo_examples(dataset, 3, seed=1)


def test_one_source():
    squad = get_dataset("squad")
    examples = demo_examples(squad, 2, source=squad.source("v2"))
    assert [e.source for e in examples] == ["v2", "v2"]


@pytest.mark.real_data
def test_rows_on_disk(real_data):
    rte = get_dataset("rte")
    examples = disk_examples(real_data, rte, rte.sources[0], "dev", 3)
    assert len(examples) == 3
    assert all(e.fields.values["premise"] == e.row["premise"].strip() for e in examples)
    with pytest.raises(ValueError, match="Did you mean 'test'"):
        disk_examples(real_data, rte, rte.sources[0], "tets", 3)
