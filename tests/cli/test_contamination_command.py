"""`flan contamination` on cached rows."""

import json

import pytest

from flan.catalog.registry import get_dataset
from flan.catalog.splits import Slice
from flan.cli.main import main
from flan.data.cache_keys import cache_folder, rows_identity
from flan.data.example_rows import demo_examples
from flan.data.row_cache import write_row_cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Rows of BoolQ: ten to train, of which the last two are among the eight for test."""
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset = get_dataset("bool_q")
    examples = [e.fields for e in demo_examples(dataset, 60) if e.fields is not None]
    seen = {}
    for fields in examples:  # demo rows may repeat themselves
        seen.setdefault(fields.values["passage"], fields)
    distinct = list(seen.values())[:16]
    for split, part in (("train", distinct[:10]), ("test", distinct[8:])):
        piece = Slice("validation", 0, len(part))
        identity = rows_identity(dataset, dataset.sources[0], split, piece, "made up")
        path = cache_folder(tmp_path / "cache", "rows", identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_row_cache(path, identity, enumerate(part))
    return tmp_path / "cache", distinct


def test_a_test_row_copied_into_training_is_found(cache, tmp_path, capsys):
    folder, rows = cache
    flags = ["--datasets", "bool_q", "--cache_dir", str(folder), "--out", str(tmp_path / "out")]
    assert main(["contamination", *flags, "--train", "bool_q"]) == 0
    content = json.loads((tmp_path / "out" / "contamination.json").read_text())
    counts = content["datasets"]["bool_q"]
    assert counts["examples"] == len(rows) - 8
    assert counts["near_duplicates"] >= 2
    lines = [json.loads(t) for t in (tmp_path / "out" / "examples.jsonl").read_text().splitlines()]
    assert [line["overlap"] for line in lines[:2]] == [1, 1]
    assert "bool_q" in capsys.readouterr().out


def test_a_corpus_file(cache, tmp_path):
    folder, rows = cache
    web = tmp_path / "web.txt"
    web.write_text("\n".join(["nothing of the kind", *rows[12].values.values()]))
    flags = ["--datasets", "bool_q", "--cache_dir", str(folder), "--out", str(tmp_path / "out")]
    assert main(["contamination", *flags, "--corpus", str(web)]) == 0
    lines = (tmp_path / "out" / "examples.jsonl").read_text().splitlines()
    assert json.loads(lines[4])["overlap"] == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to look in"),
        (["--corpus", "none.txt"], "no corpus at"),
        (["--train", "rtee"], "Did you mean 'rte'"),
        (["--train", "bool_q", "--n", "3"], "8 words or more"),
    ],
)
def test_mistakes(cache, tmp_path, capsys, flags, message):
    folder, _ = cache
    places = ["--cache_dir", str(folder), "--out", str(tmp_path / "out")]
    assert main(["contamination", "--datasets", "bool_q", *places, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
