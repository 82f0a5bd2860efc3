"""Cache keys change with what a function does, and with nothing else."""

import dataclasses
import textwrap

import pytest

from flan.catalog.registry import get_dataset
from flan.catalog.splits import Slice
from flan.data.cache_keys import code_fingerprint, key_of, rows_identity

MODULE = '''
import re
from flan.catalog.dataset import choice
WORDS = {"no", "yes", "maybe"}
PATTERN = re.compile("a+")
def helper(text):
    return text.strip()
def unused(text):
    return text
def to_fields(row):
    """Says something."""
    # a comment
    inner = [helper(w) for w in WORDS if PATTERN.match(w)]
    return choice(("no", "yes"), row["label"], text=helper(row["text"]))
'''


@pytest.fixture
def fingerprint(tmp_path, monkeypatch):
    """The fingerprint of a module's `to_fields`."""
    monkeypatch.syspath_prepend(tmp_path)
    count = iter(range(100))

    def compute(text):
        name = f"module_{tmp_path.name}_{next(count)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        module = __import__(name)
        # A module's own name is part of its functions' names; here it must not matter.
        for value in vars(module).values():
            if getattr(value, "__module__", None) == name:
                value.__module__ = "same"
        return code_fingerprint(module.to_fields)

    return compute


def test_the_same_code_has_the_same_fingerprint(fingerprint):
    assert fingerprint(MODULE) == fingerprint(MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # a comment\n", ""),
        ("Says something.", "Says something else."),
        ("    return text\n", "    return text + text\n"),
        ('("no", "yes"), row["label"]', '(\n        "no",\n        "yes",\n    ), row["label"]'),
        ('{"no", "yes", "maybe"}', '{"maybe", "yes", "no"}'),
    ],
)
def test_what_does_not_matter(fingerprint, old, new):
    assert old in MODULE
    assert fingerprint(MODULE) == fingerprint(MODULE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('("no", "yes"), row', '("No", "yes"), row'),
        ("text.strip()", "text.lower()"),
        ('"maybe"}', '"perhaps"}'),
        ('"a+"', '"a*"'),
        ('"a+"', '"a+", re.I'),
    ],
)
def test_what_matters(fingerprint, old, new):
    assert old in MODULE
    assert fingerprint(MODULE) != fingerprint(MODULE.replace(old, new))


def test_closures_count():
    def make(word):
        return lambda row: word

    assert code_fingerprint(make("a")) == code_fingerprint(make("a"))
    assert code_fingerprint(make("a")) != code_fingerprint(make("b"))


def test_every_dataset_has_a_fingerprint_of_its_own():
    from flan.catalog.clusters import all_datasets

    # The wmt datasets share their code and differ in its constants.
    names = all_datasets()
    keys = {
        key_of(rows_identity(d, s, "train", Slice("train", 0, 9), "data"))
        for d in map(get_dataset, names)
        for s in d.sources
    }
    assert len(keys) == sum(len(get_dataset(n).sources) for n in names)


def test_each_part_of_an_identity_counts():
    rte = get_dataset("rte")
    source, piece = rte.sources[0], Slice("train", 0, 9)
    base = rows_identity(rte, source, "train", piece, "data")
    others = [
        rows_identity(dataclasses.replace(rte, version=2), source, "train", piece, "data"),
        rows_identity(rte, dataclasses.replace(source, version="1.0.3"), "train", piece, "data"),
        rows_identity(rte, source, "dev", piece, "data"),
        rows_identity(rte, source, "train", Slice("train", 0, 10), "data"),
        rows_identity(rte, source, "train", piece, "other data"),
    ]
    assert len({key_of(i) for i in (base, *others)}) == 6
