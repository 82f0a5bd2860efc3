"""The loader on token caches as they lie on disk, made up and real."""

import numpy as np
import pytest

from flan.data.cache import TaskCacheWriter
from flan.data.cache_plan import Request
from flan.data.loader import HostRows, open_train_data
from flan.data.prepare import prepare
from flan.data.text import TextData
from flan.data.tokenization import Tokenized
from flan.data.vocabulary import train_sentencepiece
from flan.testing.examples import array_examples


def write_cache(path, name, examples):
    """The examples as a token cache of the same content."""
    identity = {"dataset": name, "source": name, "split": "train"}
    writer = TaskCacheWriter(
        path, identity, examples.num_rows, examples.num_rows + 7, examples.renderings
    )
    (shard,) = examples.shards
    lengths = np.diff(shard.offsets)
    tokenized = Tokenized(shard.tokens, lengths, shard.input_lengths, 2, 1, 3)
    count = len(lengths)
    writer.write_shard(0, [tokenized], [0] * count, np.arange(count))
    return writer.finish()


@pytest.fixture
def both(tmp_path):
    """The same examples in memory and on disk."""
    rng = np.random.default_rng(0)
    memory, disk = {}, {}
    for name, rows, renderings in (("rte", 300, 2), ("cb", 40, 1)):
        targets = rng.integers(1, 9, rows * renderings)
        lengths = targets + rng.integers(2, 60, rows * renderings)
        examples = array_examples(name, lengths, targets, renderings, shard_size=10_000)
        memory[name] = [examples]
        disk[name] = [write_cache(tmp_path / name, name, examples)]
    return memory, disk


def test_caches_on_disk_give_the_batches_of_arrays_in_memory(both, tmp_path):
    options = {"batch_size": 4, "length": 128, "steps": 200, "seed": 3}
    memory, disk = (open_train_data(["rte", "cb"], caches, **options) for caches in both)
    for step in (0, 77, 199):
        for one, two in zip(memory.batch(step), disk.batch(step), strict=True):
            np.testing.assert_array_equal(one, two)
    found = [(v.dataset, v.found, v.kept, v.rate, v.cut) for v in disk.receipt.lines]
    assert found == [("rte", 307, 300, 300, 3), ("cb", 47, 40, 40, 3)]
    assert memory.fingerprint != disk.fingerprint  # a cache's key names its content


def test_text_from_caches_on_disk(both):
    memory, disk = (TextData(caches, HostRows(4, 50), length=64, seed=3) for caches in both)
    for step in (0, 49):
        for one, two in zip(memory.batch(step), disk.batch(step), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.real_data
def test_real_rows_fill_their_rows(real_data, tmp_path):
    names = ("rte", "sst2", "trec", "wmt16_roen", "samsum", "idebate")
    rows = prepare(Request(names, tmp_path, real_data, splits=("train",), skip_missing=True))
    texts = (
        text
        for dataset, source, _ in rows.rows
        for fields in rows.open_rows(dataset, "train")[source]
        for text in (*fields.values.values(), fields.answer)
    )
    train_sentencepiece(texts, tmp_path / "vocabulary", 4000)
    request = Request(
        names,
        tmp_path,
        real_data,
        splits=("train",),
        vocabulary=tmp_path / "vocabulary",
        skip_missing=True,
    )
    opened = prepare(request).open_tokens()
    caches = {name: opened.get(name, []) for name in names}
    data = open_train_data(names, caches, batch_size=8, length=1280, steps=400)
    receipt = data.observe()
    assert receipt.density > 0.99
    lines = {line.dataset: line for line in receipt.lines}
    assert lines["idebate"].observed == 0
    assert lines["trec"].rate == 3000 < lines["trec"].used
    for line in receipt.lines:
        spread = np.sqrt(line.expected * (1 - line.probability))
        assert abs(line.observed - line.expected) <= 6 * spread + 0.5
    batch = data.batch(399)
    assert (batch.segment_ids > 0).mean() > 0.98
    assert batch.loss_weights.sum(axis=1).max() <= data.max_targets
