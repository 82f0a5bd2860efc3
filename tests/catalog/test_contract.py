"""What the catalog assumes of each TFDS source, against the builders in the installed wheel.

A changed name, version, type or label order fails here. Offline: builders know their
features without data.
"""

import random

import numpy as np
import pytest
from update_features import builder_spec, catalog_sources

from flan.catalog import EXTRA, all_datasets, get_datasets
from flan.data.demo_rows import generator
from flan.data.doctor import compare_specs, expected_spec
from flan.templates import load_templates, render

tfds = pytest.importorskip("tensorflow_datasets")
mocking = pytest.importorskip("tensorflow_datasets.testing.mocking")

DATASETS = get_datasets([*all_datasets(), *EXTRA])
SOURCES = [pytest.param(d, s, id=f"{d.name}-{s.name}") for d in DATASETS for s in d.sources]


@pytest.mark.parametrize("source", catalog_sources().values(), ids=lambda s: s.tfds)
def test_features_are_the_builder_s(source):
    """`tfds.builder` refuses a version that it does not support."""
    assert compare_specs(expected_spec(source.tfds), builder_spec(source)) == []


def classes(source):
    """Class names of each labelled feature of a source, in the builder's order."""
    kinds = expected_spec(source.tfds).values()
    return [tuple(kind) for kind in kinds if isinstance(kind, list)]


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.name)
def test_labels_are_in_the_builder_s_order(dataset):
    named = [classes(source) for source in dataset.sources]
    if dataset.labels:
        assert any(named)
        # A source without named classes (wsc273 counts candidates) has no order to get wrong.
        assert all(dataset.labels in found for found in named if found)
        assert len(dataset.labels) == len(dataset.options)
    elif dataset.task_type == "classification":
        # No class that has a name is verbalized without saying so in `labels`.
        assert not [c for found in named for c in found if len(c) == len(dataset.options)]


@pytest.mark.parametrize(("dataset", "source"), SOURCES)
def test_demo_rows_encode_with_the_builder_s_features(dataset, source, tmp_path):
    features = tfds.builder(source.tfds_name, data_dir=tmp_path).info.features
    for row in generator(dataset.cluster, source.tfds)(random.Random(0), 5):
        encoded = features.encode_example(row)
        assert set(encoded) == set(row)


@pytest.mark.parametrize(("dataset", "source"), SOURCES)
def test_mock_data_renders_or_is_dropped(dataset, source, tmp_path):
    """The rows that `tfds.testing.mock_data` makes of these features."""
    features = tfds.builder(source.tfds_name, data_dir=tmp_path).info.features
    templates = load_templates(dataset.name)
    for row in mocking.RandomFakeGenerator(features, num_examples=10):
        fields = dataset.to_fields(plain(row))
        if fields is not None:
            for template in templates.templates:
                rendered = render(template, fields)
                assert rendered.input
                assert rendered.target


def plain(value):
    """NumPy as plain Python, as `to_fields` gets it."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def test_a_changed_schema_is_seen():
    spec = dict(expected_spec("super_glue/cb"))
    swapped = {**spec, "label": ["contradiction", "entailment", "neutral"]}
    assert compare_specs(spec, swapped)[0].startswith("'label' is classes contradiction")
    assert compare_specs(spec, {**spec, "premise": "int32"})
    assert compare_specs(spec, {k: v for k, v in spec.items() if k != "premise"})
