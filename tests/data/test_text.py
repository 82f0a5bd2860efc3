import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data.loader import HostRows, prefetch
from flan.data.text import TextData
from flan.testing.examples import array_examples


def documents(name: str, lengths: list[int], shard_size: int = 3):
    sizes = np.array(lengths, np.int64)
    return array_examples(name, sizes, sizes, shard_size=shard_size)


def stream_of(caches) -> tuple[list[int], set[int]]:
    """All tokens in order, and where documents start."""
    tokens, starts = [], set()
    for group in caches.values():
        for cache in group:
            for shard in cache.shards:
                starts.update((len(tokens) + shard.offsets[:-1]).tolist())
                tokens += shard.tokens.tolist()
    return tokens, starts


corpora = st.dictionaries(
    st.sampled_from(["wiki", "web", "books"]),
    st.lists(st.integers(2, 60), max_size=9).map(tuple),
    min_size=1,
).filter(lambda c: any(c.values()))


@settings(deadline=None)
@given(corpora, st.integers(1, 50), st.integers(0, 3), st.sampled_from([1, 2, 4]))
def test_an_epoch_reads_every_token_once_and_learns_it(corpus, length, seed, num_hosts):
    caches = {name: [documents(name, list(lengths))] for name, lengths in corpus.items()}
    stream, starts = stream_of(caches)
    rows = -(-len(stream) // length)
    steps = -(-2 * rows // 4)
    hosts = [
        TextData(caches, HostRows(4, steps, host, num_hosts), length=length, seed=seed, bos_id=7)
        for host in range(num_hosts)
    ]
    batches = [[host.batch(step) for host in hosts] for step in range(steps)]
    found = [
        tuple(np.concatenate([part[i] for part in parts]) for i in range(5)) for parts in batches
    ]
    tokens, targets, positions, segments, weights = (
        np.concatenate([b[i] for b in found])[: 2 * rows] for i in range(5)
    )
    expected = np.zeros((rows, length), int)
    expected.flat[: len(stream)] = stream
    for epoch in (targets[:rows], targets[rows:]):
        assert sorted(map(tuple, epoch)) == sorted(map(tuple, expected))
    np.testing.assert_array_equal(weights, targets > 0)
    np.testing.assert_array_equal(segments > 0, targets > 0)
    assert ((positions == 0) | (targets > 0)).all()
    is_start = (positions == 0) & (targets > 0)
    assert (tokens[is_start] == 7).all()
    inside = ~is_start[:, 1:] & (targets[:, 1:] > 0)
    np.testing.assert_array_equal(tokens[:, 1:][inside], targets[:, :-1][inside])
    np.testing.assert_array_equal(positions[:, 1:][inside], positions[:, :-1][inside] + 1)
    # Segments begin where documents do, and at the start of a row: nowhere else.
    in_rows = {place for start in starts for place in (start, start // length * length)}
    count = len({p for p in in_rows | set(range(0, len(stream), length)) if p < len(stream)})
    assert is_start[:rows].sum() == count


@settings(deadline=None)
@given(corpora, st.integers(1, 50), st.integers(0, 30))
def test_receipt_counts_what_is_read(corpus, length, steps):
    caches = {name: [documents(name, list(lengths))] for name, lengths in corpus.items()}
    data = TextData(caches, HostRows(2, 30), length=length, seed=1)
    receipt = data.observe(steps)
    batches = [data.batch(step) for step in range(steps)]
    tokens = sum(int((b.targets > 0).sum()) for b in batches)
    assert sum(line.tokens for line in receipt.lines) == tokens
    if steps:
        assert receipt.density == pytest.approx(tokens / (steps * 2 * length))
    whole = data.observe(data.rows_per_epoch)  # two rows a step: two epochs
    for line in whole.lines:
        assert (line.observed, line.epochs) == (2 * line.used, 2 if line.used else 0)
        assert line.expected == pytest.approx(line.observed)
    assert receipt.hash == data.receipt.hash
    assert "cap" not in receipt.table()


def test_epochs_differ_and_resume():
    caches = {"wiki": [documents("wiki", [50] * 40)]}
    data = TextData(caches, HostRows(4, 50), length=20, seed=1)
    assert data.rows_per_epoch == 100
    first, second = data.batch(0), data.batch(25)
    assert not np.array_equal(first.targets, second.targets)
    again = TextData(caches, HostRows(4, 50), length=20, seed=1)
    resumed = next(prefetch(again, 25))
    for one, two in zip(resumed, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert again.fingerprint == data.fingerprint
    other = TextData(caches, HostRows(4, 50), length=20, seed=2)
    assert other.fingerprint != data.fingerprint
    assert not np.array_equal(other.batch(0).targets, first.targets)


def test_inputs_of_a_task_cache_are_learnt_as_well():
    lengths = np.array([30, 40])
    caches = {"rte": [array_examples("rte", lengths, np.array([3, 4]))]}
    batch = TextData(caches, HostRows(2, 1), length=40).batch(0)
    assert batch.loss_weights.sum() == 70


def test_bad_arguments():
    with pytest.raises(ValueError, match="no tokens"):
        TextData({"wiki": [documents("wiki", [])]}, HostRows(1, 1), length=8)
    with pytest.raises(ValueError, match="no tokens"):
        TextData({}, HostRows(1, 1), length=8)
    caches = {"wiki": [documents("wiki", [9])]}
    with pytest.raises(ValueError, match="length"):
        TextData(caches, HostRows(1, 1), length=0)
    with pytest.raises(ValueError, match="outside the 1 steps"):
        TextData(caches, HostRows(1, 1), length=8).batch(1)
    (shard,) = caches["wiki"][0].shards
    shard.offsets[-1] = 10
    with pytest.raises(ValueError, match="prepare"):
        TextData(caches, HostRows(1, 1), length=8)
