"""Rows at random within a source's features: `to_fields` drops them, or they render.

As `tfds.testing.mock_data` would make them, and worse: empty texts and lists, lists of
unequal length, numbers out of any place, unlabelled rows.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.catalog import EXTRA, all_datasets, get_datasets
from flan.data.demo_rows import generator
from flan.data.doctor import expected_spec
from flan.templates import load_templates, render
from flan.templates.renderings import render_example

DATASETS = get_datasets([*all_datasets(), *EXTRA])
SOURCES = [pytest.param(d, s, id=f"{d.name}-{s.name}") for d in DATASETS for s in d.sources]
WORDS = (
    "the",
    "Anna",
    "{answer}",
    "OPTIONS:",
    "a|b",
    "name[x]",
    "3.5",
    "@highlight",
    "--",
    "(CNN)",
    "?",
    ".",
    "\n",
    "é",
    "|||||",
    "_",
    "[title]",
    "@placeholder",
    "''",
    "``",
    "\u200b",
    "yes",
)


def random_row(spec, rng, like=None):
    """A row of these features, nested as TFDS gives it (a sequence of dicts is a dict of lists).

    Features are taken over from the row `like`, some of the time.
    """
    row = {}
    for path, kind in spec.items():
        *parents, leaf = path.split("/")
        place, model, lengths = row, like, []
        for parent in parents:
            name = parent.removesuffix("[]")
            place, model = place.setdefault(name, {}), model and model[name]
            lengths += [rng.choice((0, 1, 2, 5))] if parent.endswith("[]") else []
        name = leaf.removesuffix("[]")
        lengths += [rng.choice((0, 1, 3))] if leaf.endswith("[]") else []
        keep = model is not None and rng.random() < 0.8
        place[name] = model[name] if keep else nested(lengths, kind, rng)
    return row


def nested(lengths, kind, rng):
    if lengths:
        return [nested(lengths[1:], kind, rng) for _ in range(lengths[0])]
    if isinstance(kind, list):
        return rng.randrange(-1, len(kind))
    if kind.startswith("ClassLabel("):
        return rng.randrange(-1, int(kind[11:-1]))
    if kind == "string":
        return random_text(rng)
    if kind == "bool":
        return rng.random() < 0.5
    if kind.startswith("float"):
        return rng.choice((-1.0, 0.0, 2.6, 5.0, rng.uniform(-10, 10)))
    assert kind.startswith(("int", "uint")), kind
    return rng.choice((-1, 0, 1, 2, 3, 4, 255))


def random_text(rng):
    if rng.random() < 0.1:
        return rng.choice(("", " ", "\n", "."))
    if rng.random() < 0.2:
        return "".join(chr(rng.randrange(32, 0x2FFF)) for _ in range(rng.randrange(20)))
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 12)))


def check(dataset, row):
    """Whether `to_fields` keeps the row; all renderings of it must be whole then."""
    fields = dataset.to_fields(row)
    if fields is None:
        return False
    templates = load_templates(dataset.name)
    assert set(fields.values) == set(dataset.fields)
    assert all(isinstance(value, str) for value in fields.values.values())
    assert bool(fields.options) == (dataset.task_type != "generation")
    for template in templates.templates:
        rendered = render(template, fields)
        assert rendered.input.strip()
        assert rendered.target.strip()
        assert rendered.references
    for rendering in ("no_template", "dataset_name", "no_options"):
        assert render_example(dataset, templates, templates.templates[0], fields, rendering).input
    return True


@pytest.mark.parametrize(("dataset", "source"), SOURCES)
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_random_rows_render_or_are_dropped(dataset, source, seed):
    check(dataset, random_row(expected_spec(source.tfds), random.Random(seed)))


@pytest.mark.parametrize(("dataset", "source"), SOURCES)
def test_damaged_rows_render_or_are_dropped(dataset, source):
    rng = random.Random(0)
    rows = generator(dataset.cluster, source.tfds)(rng, 100)
    spec = expected_spec(source.tfds)
    kept = sum(check(dataset, random_row(spec, rng, row)) for row in rows)
    assert kept >= 10
