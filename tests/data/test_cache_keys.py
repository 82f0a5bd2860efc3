"""Cache keys change with what a function does, and with nothing else."""

import dataclasses
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from flan.catalog.registry import get_dataset
from flan.catalog.splits import Slice
from flan.data.cache_keys import key_of, rows_identity
from flan.data.code_fingerprint import code_fingerprint

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


OBJECTS = """
import dataclasses, enum, functools, types
import numpy as np
from flan.catalog.dataset import choice
TABLE = {"a": lambda t: t.strip(), "b": [len]}
def cut(text, most, end="."):
    return text[:most] + end
SHORT = functools.partial(cut, most=5)
class Cutter:
    most = 7
    def __init__(self, most):
        self.given = most
    def cut(self, text):
        return text[: self.given]
CUT = Cutter(9).cut
@dataclasses.dataclass
class Caller:
    word: str
    sizes: np.ndarray
    def __call__(self, row):
        return choice((self.word, "yes"), row["label"], text=row["text"])
class Kind(enum.Enum):
    A = "a"
DEFAULT = "none"
ANYTHING = object()
def plain(row, default=DEFAULT, *, more=("m", 1)):
    return choice(("no", "yes"), 0, text=CUT(SHORT(TABLE["a"](row["text"]))), kind=Kind.A, x=ANYTHING)
to_fields = plain
"""
CALLABLE = OBJECTS + "to_fields = Caller('no', np.arange(3000))\n"
PARTIAL = OBJECTS + "to_fields = functools.partial(plain, default='x')\n"
METHOD = OBJECTS + "to_fields = Caller('no', np.arange(3000)).__call__\n"


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (OBJECTS, "t.strip()", "t.lower()"),
        (OBJECTS, "[len]", "[str]"),
        (OBJECTS, "text[:most] + end", "end + text[:most]"),
        (OBJECTS, "most=5", "most=6"),
        (OBJECTS, 'end="."', 'end="!"'),
        (OBJECTS, "Cutter(9)", "Cutter(8)"),
        (OBJECTS, "text[: self.given]", "text[self.given :]"),
        (OBJECTS, "most = 7", "most = 8"),
        (OBJECTS, 'A = "a"', 'A = "b"'),
        (OBJECTS, '"none"', '"nothing"'),
        (OBJECTS, '("m", 1)', '("m", 2)'),
        (CALLABLE, "Caller('no'", "Caller('No'"),
        (CALLABLE, "np.arange(3000)", "np.arange(3000)[::-1]"),
        (CALLABLE, 'row["label"]', '1 - row["label"]'),
        (PARTIAL, "default='x'", "default='y'"),
        (PARTIAL, '"yes"), 0', '"yes"), 1'),
        (METHOD, "Caller('no'", "Caller('No'"),
    ],
)
def test_what_functions_hold_matters(fingerprint, text, old, new):
    assert old in text
    assert fingerprint(text) == fingerprint(text)
    assert fingerprint(text) != fingerprint(text.replace(old, new))


def test_closures_of_one_function_are_told_apart(fingerprint):
    text = """
def make(word):
    def add(text):
        return text + word
    return add
TABLE = {"a": make("x"), "b": make("y")}
def to_fields(row):
    return TABLE
"""
    assert fingerprint(text) != fingerprint(text.replace('"y"', '"z"'))


def test_what_cannot_be_hashed_asks_for_a_version():
    opened = threading.Lock()
    rte = dataclasses.replace(get_dataset("rte"), to_fields=lambda row: opened, version=1)
    source, piece = rte.sources[0], Slice("train", 0, 9)
    with pytest.raises(ValueError, match=r"rte: .*opened is <.*lock.*Dataset\(version=2\)"):
        rows_identity(rte, source, "train", piece, "data")
    told = [dataclasses.replace(rte, version=v) for v in (2, 3)]
    one, other = (rows_identity(d, source, "train", piece, "data") for d in told)
    assert one != other


def test_a_fingerprint_is_the_same_in_another_process(tmp_path):
    (tmp_path / "theirs.py").write_text(CALLABLE + "WORDS = {*'abcdefgh'}\n")
    code = (
        "import theirs; from flan.data.code_fingerprint import code_fingerprint as f; "
        "print(f(theirs.to_fields), f(theirs.plain), f(lambda row: row in {'a', 'b', 'c'}))"
    )
    found = set()
    for seed in "01":
        path = os.pathsep.join([str(tmp_path), *sys.path])
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


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
    rte = dataclasses.replace(get_dataset("rte"), version=1)
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
