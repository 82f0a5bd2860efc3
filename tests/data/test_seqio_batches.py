"""Batches of a stream: the same for each host, after each resume, and counted.

The stream is made up here; `test_seqio_examples.py` has those of seqio.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

from flan.data import seqio_examples, stream_rows
from flan.data.batch import Batch
from flan.data.loader import prefetch
from flan.data.receipt import Receipt
from flan.data.seqio_batches import SeqioBatches
from flan.data.seqio_examples import Stream, StreamTask
from flan.data.seqio_request import StreamRequest
from flan.data.stream_rows import Chunk, RowStream
from flan.data.vocabulary import train_sentencepiece
from flan.testing.packed import examples_of

TASKS = (StreamTask("sums", 3.0, 400), StreamTask("text", 0.5, None))
LENGTHS = {"inputs": 24, "targets": 16}


def made_up(request: StreamRequest) -> Stream:
    """An endless stream that only depends on the request."""

    def chunks():
        rng = np.random.default_rng(request.seed)
        while True:
            targets, inputs = rng.integers(1, 17, 8), rng.integers(0, 25, 8)
            tokens = rng.integers(2, 300, (targets + inputs).sum(), dtype=np.int32)
            tokens[np.cumsum(targets + inputs) - 1] = 1
            yield Chunk(tokens, targets + inputs, inputs, rng.integers(0, 2, 8))

    return Stream(TASKS, chunks())


@pytest.fixture(autouse=True)
def quick(monkeypatch, server_threads):
    monkeypatch.setattr(stream_rows, "WINDOW", 60)
    monkeypatch.setattr(seqio_examples, "open_examples", made_up)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    train_sentencepiece(["The dog is in the park.\n"] * 20, out, 300, shrink=True)
    return out


@pytest.fixture
def opened(vocabulary):
    """Opens data that are closed in the end."""
    found = []

    def open_(steps=60, bos_id=0, fingerprint="f", **changes):
        settings = {
            "name": "made_up",
            "feature_lengths": LENGTHS,
            "vocabulary": str(vocabulary),
            "batch_size": 4,
            "host": 0,
            "hosts": 1,
            "seed": 0,
            "modules": (),
            "data_dir": None,
            "cap": 30_000,
            "rate": 3_000,
            "num_templates": None,
            "skip_missing": False,
            "shuffle": True,
            "use_cached": False,
            **changes,
        }
        request = StreamRequest(**settings)
        data = SeqioBatches(request, steps, vocabulary_fingerprint=fingerprint, bos_id=bos_id)
        found.append(data)
        return data

    yield open_
    for data in found:
        data.close()


def assert_same(one: Batch, two: Batch) -> None:
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batch_arrays(opened):
    data = opened(bos_id=7)
    assert (data.length, data.num_steps, data.batch_size) == (40, 60, 4)
    for step in range(9):
        batch = data.batch(step)
        assert [a.dtype for a in batch] == [np.int32] * 4 + [np.float32]
        assert {a.shape for a in batch} == {(4, 40)}
        assert batch.loss_weights.sum(axis=1).max() <= data.max_targets
        assert (batch.tokens[:, 0] == 7).all()
        for ids, inputs in examples_of(batch):
            assert inputs < len(ids)
            assert ids[-1] == 1
    for step in (-1, 60):
        with pytest.raises(ValueError, match="outside the 60 steps"):
            data.batch(step)


@pytest.mark.parametrize("first", [0, 1, 17, 59])
def test_resuming_at_any_step_gives_the_same_batches(opened, first):
    through, resumed = opened(), opened()
    batches = list(prefetch(through))
    assert resumed.fingerprint == through.fingerprint
    for step, batch in enumerate(prefetch(resumed, first), first):
        assert_same(batch, batches[step])


def test_steps_may_be_asked_for_in_any_order(opened):
    batches = list(prefetch(opened()))
    data = opened(steps=1000)  # a longer run reads the same batches first
    for step in (30, 31, 59, 2, 3, 0):
        assert_same(data.batch(step), batches[step])


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_read_their_rows_of_one_batch(opened, hosts):
    whole = opened()
    parts = [opened(host=host, hosts=hosts) for host in range(hosts)]
    assert {part.fingerprint for part in parts} == {whole.fingerprint}
    for step in (0, 1, 23):
        joined = [np.concatenate(a) for a in zip(*(p.batch(step) for p in parts), strict=True)]
        assert_same(Batch(*joined), whole.batch(step))
    assert {part.observe(24) for part in parts} == {whole.observe(24)}
    with pytest.raises(ValueError, match="make it a multiple"):
        opened(hosts=3)


def test_what_decides_the_batches_decides_the_fingerprint(opened, monkeypatch):
    changes = [
        {},
        {"seed": 1},
        {"name": "another"},
        {"shuffle": False},
        {"cap": 20},
        {"rate": 20},
        {"num_templates": 2},
        {"batch_size": 8},
        {"bos_id": 3},
        {"fingerprint": "g"},
        {"feature_lengths": {"inputs": 30, "targets": 16}},
    ]
    found = {opened(**change).fingerprint for change in changes}
    assert len(found) == len(changes)
    for change in ({"steps": 7}, {"data_dir": "/elsewhere"}, {"modules": ("m",)}):
        assert opened(**change).fingerprint in found
    tasks = (TASKS[0]._replace(rate=4.0), TASKS[1])
    monkeypatch.setattr(seqio_examples, "open_examples", lambda r: Stream(tasks, made_up(r).chunks))
    assert opened().fingerprint not in found


def test_a_stream_that_changed_is_noticed(opened, monkeypatch):
    data = opened()
    fingerprint = data.fingerprint
    data.batch(5)

    monkeypatch.setattr(seqio_examples, "open_examples", lambda r: changed(made_up(r)))
    with pytest.raises(ValueError, match="begins with other examples than when it was read"):
        data.batch(0)
    assert opened().fingerprint != fingerprint  # so that a resumed run refuses it


def changed(stream):
    def chunks():
        for chunk in stream.chunks:
            yield chunk._replace(tokens=np.where(chunk.tokens == 2, 3, chunk.tokens))

    return stream._replace(chunks=chunks())


def test_the_receipt_counts_what_the_batches_hold(opened):
    data = opened(steps=200)
    before = data.receipt
    found = [(v.dataset, v.found, v.kept, v.rate, v.observed) for v in before.lines]
    assert found == [("sums", 400, None, 3.0, None), ("text", None, None, 0.5, None)]
    assert [v.probability for v in before.lines] == [6 / 7, 1 / 7]
    batches = list(prefetch(data))
    after = data.observe()  # it is closed by now
    read = [e for batch in batches for e in examples_of(batch)]
    assert sum(v.observed for v in after.lines) == len(read)
    assert sum(v.tokens for v in after.lines) == sum(len(ids) for ids, _ in read)
    assert sum(v.target_tokens for v in after.lines) == sum(len(i) - n for i, n in read)
    assert sum(v.expected for v in after.lines) == pytest.approx(len(read))
    assert sum(v.expected for v in before.lines) == pytest.approx(len(read), rel=0.1)
    places = sum(batch.tokens.size for batch in batches)
    assert after.density == sum(len(ids) for ids, _ in read) / places
    assert after.hash == before.hash
    assert Receipt.from_json(after.to_json()) == after
    assert opened(steps=200).observe() == after  # reads up to there
    for text in ("sums", "2 datasets", "200 steps", " 0.5 ", " 400 "):
        assert text in after.table()


def test_observing_fewer_steps_than_were_read(opened):
    data = opened()
    for step in range(4):
        data.batch(step)
    first = data.observe(2)
    assert first.steps == 2
    assert first == opened().observe(2)
    assert_same(data.batch(4), opened().batch(4))
    assert data.observe(0).density is None


def test_closing_ends_a_wait_for_a_batch(opened, monkeypatch):
    asked = threading.Event()

    def slow(self, step, progress):
        asked.set()
        threading.Event().wait(0.5)
        progress(step)

    data = opened()
    monkeypatch.setattr(RowStream, "skip_to", slow)
    batches = prefetch(data)
    errors = []

    def wait():
        try:
            next(batches)
        except OSError as error:
            errors.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert asked.wait(20)
    data.close()
    waiting.join(20)
    assert errors == ["closed while waiting for seqio's examples"]
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]
    with pytest.raises(OSError, match="closed"):
        data.batch(0)


def test_a_server_that_dies_is_told(opened, monkeypatch):
    data = opened()
    data.batch(0)

    def killed(self):
        raise SystemExit

    monkeypatch.setattr(RowStream, "next_rows", killed)
    with pytest.raises(OSError, match=r"ended with code 0.*last checkpoint"):
        data.batch(1)


def test_a_stream_that_ends_is_told(opened, monkeypatch):
    def short(request):
        stream = made_up(request)
        return stream._replace(chunks=iter([next(stream.chunks) for _ in range(20)]))

    monkeypatch.setattr(seqio_examples, "open_examples", short)
    data = opened(steps=1000)
    read = 0
    with pytest.raises(ValueError, match="ended after 160 examples: ask for fewer steps"):  # noqa: PT012
        for batch in prefetch(data):
            read += len(examples_of(batch))
    assert 140 < read <= 160
