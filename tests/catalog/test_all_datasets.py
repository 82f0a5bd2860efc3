"""Every dataset of the clusters is there, whole."""

import random
import subprocess
import sys

import pytest

from flan.catalog import CLUSTERS, EXTRA, all_datasets, cluster_of, get_dataset
from flan.data.demo_rows import generator
from flan.templates import load_templates
from flan.templates.lint import check_templates

NAMES = (*all_datasets(), *EXTRA)


@pytest.mark.parametrize("name", NAMES)
def test_registered_with_ten_templates(name):
    dataset = get_dataset(name)
    assert dataset.name == name
    assert dataset.cluster == cluster_of(name)
    templates = load_templates(name)
    assert [t.id for t in templates.templates] == [f"t{n}" for n in range(10)]
    assert len(templates.forward) >= 7


@pytest.mark.parametrize("name", NAMES)
def test_docstring_works_an_example(name):
    """Source, a row, and what it becomes."""
    description = get_dataset(name).description
    assert "Row" in description
    assert "Fields:" in description or "Fields" in description


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_find_on_demo_rows(name):
    dataset = get_dataset(name)
    rows = [
        fields
        for source in dataset.sources
        for row in generator(dataset.cluster, source.tfds)(random.Random(1), 30)
        if (fields := dataset.to_fields(row)) is not None
    ]
    assert len(rows) >= 10
    assert check_templates(dataset, load_templates(name), rows) == []


@pytest.mark.parametrize("name", NAMES)
def test_titles_and_metrics(name):
    from flan.evaluation.metrics import METRICS

    dataset = get_dataset(name)
    assert dataset.title.strip() == dataset.title != ""
    assert set(dataset.metrics) <= set(METRICS)


PURE = """
import sys, importlib
for module in {modules}:
    importlib.import_module(module)
heavy = sorted({heavy} & set(sys.modules))
assert not heavy, heavy
"""


FRAMEWORKS = {
    "tensorflow",
    "tensorflow_datasets",
    "tensorflow_text",
    "seqio",
    "jax",
    "flax",
    "torch",
}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ([f"flan.catalog.{c}" for c in (*CLUSTERS, "extra")], FRAMEWORKS | {"numpy"}),
        (
            ["flan.templates", "flan.templates.lint", "flan.templates.renderings"],
            FRAMEWORKS | {"numpy"},
        ),
        ([f"flan.data.demo_rows.{c}" for c in (*CLUSTERS, "extra")], FRAMEWORKS | {"numpy"}),
        (
            ["flan.data.doctor", "flan.data.listing", "flan.data.example_rows"],
            FRAMEWORKS | {"numpy"},
        ),
        (["flan.browse", "flan.data.preview", "flan.data.rows"], FRAMEWORKS),
    ],
    ids=["catalog", "templates", "demo_rows", "doctor", "browse"],
)
def test_imports_nothing_heavy(modules, heavy):
    script = PURE.format(modules=modules, heavy=heavy)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
