"""Overlap with corpora: hashing against plain Python, planted copies, streams, resuming."""

import gzip
import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data.grams import DOCUMENT_END, grams, normalize, pack, words
from flan.evaluation.results import Cell, CellId, write_cell, write_checkpoint
from flan.experiments.contamination import corpus, measure
from flan.experiments.contamination.index import Example, Index, near_duplicates

WORDS = [f"{a}{b}" for a in "bcdfghjk" for b in ("a", "eel", "ist", "orm", "ump")]


def sentence(rng, count):
    return " ".join(rng.choice(WORDS) for _ in range(count))


def plain_words(text):
    return re.findall(r"[^\s!-/:-@\[-`{-~]+", text.lower())


def example(row, text):
    return Example("rte", "rte", "test", row, text)


ALPHABET = st.sampled_from("abAB é9.,-'\n\t’…")


@given(st.lists(st.text(ALPHABET, max_size=60), min_size=1, max_size=5), st.integers(2, 4))
@settings(max_examples=150, deadline=None)
def test_grams_are_those_of_plain_python(texts, n):
    """Two stretches of words have the same hash just where they are the same words."""
    found = words(DOCUMENT_END.join(normalize(t) for t in texts))
    plain = [plain_words(re.sub("[’…]", " ", t)) for t in texts]
    assert [d for d, ws in enumerate(plain) for _ in ws] == found.documents.tolist()
    hashes, _ = grams(found, n)
    expected = [tuple(ws[i : i + n]) for ws in plain for i in range(len(ws) - n + 1)]
    assert len(hashes) == len(expected)
    assert len(set(hashes.tolist())) == len(set(expected))
    by_hash = dict(zip(hashes.tolist(), expected, strict=True))
    assert all(by_hash[h] == e for h, e in zip(hashes.tolist(), expected, strict=True))


def test_planted_copies_are_counted_exactly(tmp_path):
    rng = random.Random(0)
    examples = [example(i, sentence(rng, 40)) for i in range(1000)]
    planted = set(rng.sample(range(1000), 137))
    documents = [sentence(rng, 300) for _ in range(400)]
    for row in planted:
        place = rng.randrange(len(documents))
        start = rng.randrange(40 - 13)
        copied = " ".join(examples[row].text.split()[start : start + 13])
        # Written otherwise: capitals, punctuation, line ends.
        copied = copied.upper().replace(" ", rng.choice([" ", ",\n", " - "]))
        documents[place] += f" {copied} {sentence(rng, 5)}"
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": d}) + "\n" for d in documents))
    index = Index(examples)
    measure.look_in_files(index, corpus.find_files([tmp_path]))
    overlap = index.overlap()
    assert {i for i, share in enumerate(overlap) if share > 0} == planted
    assert measure.summarize(index, overlap)["rte"] == {
        "examples": 1000,
        "dirty": 137,
        "near_duplicates": 0,
        "too_short": 0,
    }


def test_near_duplicates_and_short_examples():
    rng = random.Random(1)
    long, short, tiny = sentence(rng, 60), sentence(rng, 9), sentence(rng, 7)
    index = Index([example(0, long), example(1, short), example(2, tiny), example(3, "")])
    for block in pack([f"so: {long[:-4]} end", f"x {short} y", tiny]):
        index.look(block)
    overlap = index.overlap()
    assert 0.9 < overlap[0] < 1
    assert overlap[1] == 1
    assert np.isnan(overlap[2:]).all()
    assert near_duplicates(overlap).tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match="8 words or more"):
        Index([], n=7)


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_a_stream_cut_into_blocks_loses_no_gram(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 257)
    monkeypatch.setattr(corpus, "_TAIL_BYTES", 16)
    rng = random.Random(2)
    text = "é ".join(sentence(rng, 50) for _ in range(40))
    path = tmp_path / f"book{suffix}"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    read = []
    found = set()
    for block in corpus.blocks(path, on_bytes=read.append):
        assert len(block) < 2000
        found |= set(grams(words(block))[0].tolist())
    assert found == set(grams(words(normalize(text)))[0].tolist())
    assert sum(read) == path.stat().st_size


def test_no_gram_reaches_over_documents():
    rng = random.Random(3)
    text = sentence(rng, 20)
    index = Index([example(0, text)])
    halves = text.split()[:10], text.split()[10:]
    for block in pack([" ".join(h) for h in halves]):
        index.look(block)
    assert index.overlap()[0] == 0


def test_a_stopped_run_goes_on_after_finished_files(tmp_path, monkeypatch):
    rng = random.Random(4)
    examples = [example(i, sentence(rng, 20)) for i in range(3)]
    files = []
    for i in range(3):
        path = tmp_path / f"{i}.txt"
        path.write_text(examples[i].text)
        files.append(path)
    progress = tmp_path / "out" / "progress.npz"
    measure.look_in_files(Index(examples), files[:2], progress=progress)
    read = []
    real = corpus.blocks
    monkeypatch.setattr(corpus, "blocks", lambda p, *a: read.append(p.name) or real(p, *a))
    index = Index(examples)
    measure.look_in_files(index, files, progress=progress)
    assert read == ["2.txt"]
    assert (index.overlap() == 1).all()
    # Other examples, or a damaged file: from the beginning.
    progress.write_bytes(progress.read_bytes()[:100])
    measure.look_in_files(Index(examples), files, progress=progress)
    measure.look_in_files(Index(examples[:2]), files, progress=progress)
    assert read == ["2.txt", *[f"{i}.txt" for i in range(3)] * 2]


def test_progress_of_other_files_or_fields_is_not_taken_up(tmp_path):
    text = sentence(random.Random(6), 20)
    progress = tmp_path / "out" / "progress.npz"
    dirty, clean, fields = (tmp_path / n for n in ("dirty.txt", "clean.txt", "a.jsonl"))
    dirty.write_text(text)
    clean.write_text("nothing of it")
    fields.write_text(json.dumps({"title": "nothing of it", "text": text}) + "\n")

    def overlap(path, field="text"):
        index = Index([example(0, text)])
        measure.look_in_files(index, [path], field, progress)
        return index.overlap()[0]

    assert (overlap(dirty), overlap(clean)) == (1, 0)
    assert (overlap(fields), overlap(fields, "title"), overlap(fields)) == (1, 0, 1)
    dirty.write_text(text)
    assert overlap(dirty) == 1
    dirty.write_text("mended, and of another size")
    assert overlap(dirty) == 0


def test_a_file_is_read_as_its_name_says_in_any_case(tmp_path):
    text = sentence(random.Random(7), 20)
    line = json.dumps({"text": text.replace(" ", "\n")}).encode()  # as plain text: no words
    for name, data in (
        ("A.TXT.GZ", gzip.compress(text.encode())),
        ("B.JSONL", line),
        ("C.Json.Gz", gzip.compress(line)),
        ("notes.json.txt", text.encode()),
        ("bom.txt", b"\xef\xbb\xbf" + text.encode()),
    ):
        (tmp_path / name).write_bytes(data)
        index = Index([example(0, text)])
        measure.look_in_files(index, corpus.find_files([tmp_path / name]))
        assert index.overlap()[0] == 1, name


def test_words_end_at_any_white_space_and_accents_are_spelled_one_way():
    def hashes(text):
        return words(normalize(text)).hashes.tolist()

    for space in "\u0085\u00a0\u2003\u2028\u202f\u3000":
        assert hashes(f"a{space}b") == hashes("a b")
    assert hashes("caf\u00e9 \u00c5") == hashes("cafe\u0301 A\u030a")
    assert hashes("\ufeffso") == hashes("so")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "some words".encode("utf-16-le"), "expected UTF-8"),
        ("a.txt", "\u732b\u3068\u72ac".encode("utf-16"), "expected UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "y"}\n', r"a.jsonl, line 2: no text in 'text'"),
        ("a.jsonl", b"nonsense\n", "line 1: not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("a.txt.gz", gzip.compress(b"words " * 100, mtime=0)[:20], "damaged gzip"),
        ("a.txt.gz", b"no gzip at all", "damaged gzip"),
        ("a.csv", b"x", "ends in"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        measure.look_in_files(Index([example(0, "a b")]), corpus.find_files([path]))


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no corpus"):
        corpus.find_files([tmp_path / "none"])
    with pytest.raises(FileNotFoundError, match="no files"):
        corpus.find_files([tmp_path])


def test_scores_on_clean_and_dirty_rows(tmp_path):
    """Right on all dirty rows and on half of the clean ones."""
    rng = random.Random(5)
    examples = [example(i, sentence(rng, 20)) for i in range(8)]
    index = Index(examples)
    for block in pack([examples[i].text for i in (0, 1)]):
        index.look(block)
    right = {0, 1, 2, 3, 4}
    cell = Cell(
        CellId("tuned", "instructions", "rte", "rte", "test", "t0"),
        *("key", "nli", "rank", "accuracy", {"accuracy": 62.5}, {}, (), {"rows": 8}),
        {"checkpoint": "abc"},
    )
    rows = [
        {
            "row": i,
            "prediction": "yes" if i in right else "no",
            "references": ["yes"],
            "label": 0,
            "choice": int(i not in right),
        }
        for i in range(8)
    ]
    write_checkpoint(tmp_path, "tuned", {"fingerprint": "abc"})
    write_cell(tmp_path, cell, rows)
    scores = measure.subset_scores(tmp_path, index, index.overlap())
    assert scores == {
        "tuned, instructions": {
            "rte": {"all": 62.5, "clean": 50.0, "dirty": 100.0, "clean_rows": 6, "dirty_rows": 2}
        }
    }
    content = measure.write(tmp_path / "out", index, index.overlap(), ["web"], scores)
    assert json.loads((tmp_path / "out" / "contamination.json").read_text()) == content
    lines = (tmp_path / "out" / "examples.jsonl").read_text().splitlines()
    assert [json.loads(line)["overlap"] for line in lines] == [1, 1, 0, 0, 0, 0, 0, 0]
    from flan.reports.contamination import write_plot

    assert b"rte" in write_plot(tmp_path / "out", content).read_bytes()
