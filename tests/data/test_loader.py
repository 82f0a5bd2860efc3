import errno
import threading
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.data import packing
from flan.data.batch import Batch, row_length
from flan.data.loader import TrainData, open_train_data, prefetch
from flan.data.mixture import WINDOW, make_mixture
from flan.data.packing import PackingPlan, windows_of_part
from flan.data.pool import ExamplePool
from flan.data.receipt import Receipt
from flan.testing.examples import EOS_ID, ArrayExamples, array_examples
from flan.testing.packed import examples_of

LENGTH = 128
WINDOWS_PER_PART = 2


@pytest.fixture(autouse=True, scope="module")
def small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flan.data.packing.WINDOWS_PER_PART", WINDOWS_PER_PART)
        yield


def made_up(name: str, rows: int, renderings: int = 1, mean: int = 18, seed: int = 0):
    rng = np.random.default_rng([seed, rows, len(name)])
    targets = np.clip(rng.poisson(4, rows * renderings), 1, 20)
    lengths = np.clip(rng.poisson(mean, rows * renderings), 2, 60) + targets
    return array_examples(name, lengths, targets, renderings)


@pytest.fixture(scope="module")
def caches() -> dict[str, list[ArrayExamples]]:
    return {
        "anli": [made_up("r1", 700), made_up("r2", 1300, renderings=2), made_up("r3", 1900)],
        "cb": [made_up("cb", 200, renderings=3)],
        "wsc": [made_up("wsc", 5)],
        "idebate": [made_up("idebate", 0)],
        "xsum": [made_up("xsum", 4000, mean=45)],
    }


def data_of(caches, names=("anli", "cb", "wsc", "idebate", "xsum"), **options) -> TrainData:
    defaults = {"batch_size": 8, "length": LENGTH, "steps": 100, "seed": 1, "bos_id": 0}
    return open_train_data(list(names), caches, **{**defaults, **options})


def cached_examples(cache: ArrayExamples) -> list[tuple[tuple[int, ...], int]]:
    return [
        (tuple(shard.tokens[start:end].tolist()), int(inputs))
        for shard in cache.shards
        for start, end, inputs in zip(
            shard.offsets[:-1], shard.offsets[1:], shard.input_lengths, strict=True
        )
    ]


def assert_same(one: Batch, two: Batch) -> None:
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


# --- what a batch holds -----------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.integers(0, 3), st.integers(0, 9))
def test_batch_arrays(caches, step, seed, bos_id):
    data = data_of(caches, seed=seed, bos_id=bos_id)
    batch = data.batch(step)
    for array in batch:
        assert array.shape == (8, LENGTH)
    assert [a.dtype for a in batch] == [np.int32] * 4 + [np.float32]
    for row in range(8):
        segments = batch.segment_ids[row]
        used = int((segments > 0).sum())
        assert (segments[:used] > 0).all()  # padding only at the end
        assert (np.diff(segments[:used]) >= 0).all()
        assert (np.diff(segments[:used]) <= 1).all()
        assert segments[0] == 1
        for padded in batch:
            assert (padded[row, used:] == 0).all()
        assert batch.loss_weights[row].sum() <= data.max_targets
        for segment in range(1, segments.max() + 1):
            (here,) = np.nonzero(segments == segment)
            np.testing.assert_array_equal(batch.positions[row, here], np.arange(len(here)))
            targets = batch.targets[row, here]
            assert batch.tokens[row, here[0]] == bos_id
            np.testing.assert_array_equal(batch.tokens[row, here[1:]], targets[:-1])
            weights = batch.loss_weights[row, here]
            inputs = int((weights == 0).sum())
            assert 0 < inputs < len(here)
            np.testing.assert_array_equal(weights, np.arange(len(here)) >= inputs)
            assert targets[inputs - 1] == EOS_ID
            assert targets[-1] == EOS_ID


def test_batches_hold_the_examples_of_the_caches(caches):
    known = {e for sources in caches.values() for cache in sources for e in cached_examples(cache)}
    data = data_of(caches)
    for step in (0, 57, 99):
        found = examples_of(data.batch(step))
        assert found
        assert set(found) <= known


def test_rows_are_nearly_full(caches):
    data = data_of(caches, steps=1000)
    filled = np.mean([(data.batch(s).segment_ids > 0).mean() for s in range(0, 1000, 50)])
    assert filled > 0.99
    assert data.observe().density > 0.99


# --- exactly once, at the promised rates ------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 8])
def test_parts_hold_all_windows_in_order(monkeypatch, most):
    monkeypatch.setattr("flan.data.packing.WINDOWS_PER_PART", most)
    parts = [list(windows_of_part(number)) for number in range(12)]
    windows = [window for part in parts for window in part]
    assert windows == list(range(len(windows)))
    assert len(parts[0]) == 1
    assert len(parts[-1]) == most


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9), st.integers(1, 5000), st.integers(1, 3000), st.integers(40, 200))
def test_each_draw_appears_exactly_once(caches, seed, cap, rate, max_targets):
    """The rows of each window are the mixture's draws, as multisets."""
    kept = {name: [c.num_rows for c in sources] for name, sources in caches.items()}
    mixture = make_mixture(kept, cap=cap, rate=rate, seed=seed)
    pool = ExamplePool(mixture, caches)
    plan = PackingPlan(mixture, pool, row_length=LENGTH, max_targets=max_targets)
    plan.rows(0, 1)
    for part in range(3):
        start = plan.planned_rows if part else 0
        plan.rows(start, start + 1)
        rows = plan.rows(start, plan.planned_rows)
        windows = windows_of_part(part)
        drawn = np.concatenate([pool.numbers(mixture.window(w)) for w in windows])
        np.testing.assert_array_equal(np.sort(rows.examples), np.sort(drawn))
        assert (rows.counts > 0).all()
        row = np.repeat(np.arange(len(rows.counts)), rows.counts)
        lengths, inputs = pool.lengths(rows.examples)
        assert np.bincount(row, lengths).max() <= LENGTH
        assert np.bincount(row, lengths - inputs).max() <= max_targets
        # Exact at the end of a window: each dataset within half an example of its share.
        draws = windows.stop * WINDOW
        observed = np.bincount(
            pool.components(plan.rows(0, plan.planned_rows).examples), minlength=len(kept)
        )
        np.testing.assert_array_equal(observed, mixture.counts(draws))
        assert abs(observed - draws * mixture.probabilities).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_observed_sampling_is_within_bounds(caches, seed):
    """Inside a window its rows come in random order: six standard deviations of a binomial."""
    data = data_of(caches, steps=1000, seed=seed)
    for steps in (1, 10, 50, 200, 1000):
        receipt = data.observe(steps)
        for line in receipt.lines:
            spread = np.sqrt(line.expected * (1 - line.probability))
            assert abs(line.observed - line.expected) <= 6 * spread + 0.5
    assert [v.dataset for v in receipt.lines if not v.observed] == ["idebate"]


def test_a_prefix_stands_before_each_example_and_costs_room_alone(caches):
    known = {e for sources in caches.values() for cache in sources for e in cached_examples(cache)}
    prefix = (901, 902, 903)
    data = data_of(caches, prefix=prefix, length=LENGTH + 3)
    assert data.fingerprint != data_of(caches, length=LENGTH + 3).fingerprint
    assert [row_length(n, 3) for n in (80, 1280, 128)] == [83, 1408, 256]
    batch = data.batch(7)
    found = examples_of(batch)
    assert all(tokens[:3] == prefix for tokens, _ in found)
    assert {(tokens[3:], inputs - 3) for tokens, inputs in found} <= known
    assert batch.targets.shape == (8, LENGTH + 3)
    after = data.observe(40)
    held = sum((data.batch(step).segment_ids > 0).sum() for step in range(40))
    assert sum(line.tokens for line in after.lines) == held


def test_receipt_counts_what_the_batches_hold(caches):
    data = data_of(caches, steps=40)
    before = data.receipt
    assert before.lines[0].observed is None
    after = data.observe()
    batches = [data.batch(step) for step in range(40)]
    assert sum(v.observed for v in after.lines) == sum(len(examples_of(b)) for b in batches)
    assert sum(v.tokens for v in after.lines) == sum((b.segment_ids > 0).sum() for b in batches)
    assert sum(v.target_tokens for v in after.lines) == sum(b.loss_weights.sum() for b in batches)
    of_dataset = {n: {e for c in s for e in cached_examples(c)} for n, s in caches.items()}
    for line in after.lines:
        found = [e for b in batches for e in examples_of(b) if e in of_dataset[line.dataset]]
        assert line.observed == len(found)
    assert after.hash == before.hash
    assert sum(v.expected for v in after.lines) == pytest.approx(
        sum(v.observed for v in after.lines)
    )
    # The expectation before the run rests on mean lengths.
    for one, two in zip(before.lines, after.lines, strict=True):
        assert one.expected == pytest.approx(two.expected, rel=0.05)
    assert Receipt.from_json(after.to_json()) == after


def test_epochs_read_the_renderings_in_turn(caches):
    mixture = make_mixture({"cb": [200]}, seed=1)
    pool = ExamplePool(mixture, {"cb": caches["cb"]})
    draws = mixture.window(0)
    numbers = pool.numbers(draws)
    np.testing.assert_array_equal(numbers % 200, draws.row)
    np.testing.assert_array_equal(numbers // 200, draws.epoch % 3)


# --- the same batches, whoever asks and whenever ----------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99), st.sampled_from([2, 4, 8]), st.integers(0, 3))
def test_hosts_read_slices_of_one_global_batch(caches, step, num_hosts, seed):
    whole = data_of(caches, seed=seed)
    parts = [data_of(caches, seed=seed, host=h, num_hosts=num_hosts) for h in range(num_hosts)]
    joined = [np.concatenate(a) for a in zip(*(p.batch(step) for p in parts), strict=True)]
    assert_same(Batch(*joined), whole.batch(step))
    assert {p.fingerprint for p in parts} == {whole.fingerprint}


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1999))
def test_a_resumed_run_reads_the_same_batches(caches, tmp_path_factory, step):
    folder = tmp_path_factory.getbasetemp() / "resume_plans"
    straight = data_of(caches, steps=2000)
    first = data_of(caches, steps=2000, plan_dir=folder)
    assert_same(first.batch(step), straight.batch(step))
    resumed = data_of(caches, steps=2000, plan_dir=folder)
    assert_same(resumed.batch(step), straight.batch(step))
    assert_same(next(prefetch(resumed, step)), straight.batch(step))


def test_a_longer_run_reads_the_same_batches_first(caches):
    short, long = data_of(caches, steps=10), data_of(caches, steps=5000)
    for step in (0, 9):
        assert_same(short.batch(step), long.batch(step))


def test_a_resume_plans_nothing_again(caches, tmp_path, monkeypatch):
    data = data_of(caches, plan_dir=tmp_path, steps=4000)
    data.observe()
    expected = data.batch(3999)
    monkeypatch.setattr("flan.data.packing.pack", None)
    assert_same(data_of(caches, plan_dir=tmp_path, steps=4000).batch(3999), expected)


def test_a_dataset_without_caches_is_recorded(caches):
    data = data_of({**caches, "newsroom": []}, ["newsroom", "cb", "newsroom", "idebate"])
    plain = data_of(caches, ["cb"])
    assert_same(data.batch(3), plain.batch(3))
    lines = {line.dataset: (line.found, line.observed) for line in data.observe().lines}
    assert lines["newsroom"] == (0, 0)
    assert "never drawn: newsroom, idebate" in data.receipt.table()


def test_target_limit_follows_the_mixture(caches):
    assert data_of(caches).max_targets == 64  # 128 tokens of which a sixth are targets, 1.8 fold
    assert data_of(caches, length=1280).max_targets % 64 == 0
    few = data_of(
        {"a": [array_examples("a", np.full(50, 100), np.full(50, 2))]}, ["a"], length=1280
    )
    assert few.max_targets == 64
    many = data_of({"a": [array_examples("a", np.full(50, 9), np.full(50, 8))]}, ["a"], length=1280)
    assert many.max_targets == 1280
    long = array_examples("a", np.full(50, 120), np.array([100] + [1] * 49))
    assert data_of({"a": [long]}, ["a"], length=1280).max_targets == 128
    assert data_of(caches, max_targets=100).max_targets == 100


def test_other_inputs_are_another_plan(caches, tmp_path):
    base = data_of(caches, plan_dir=tmp_path)
    changes = [
        {"seed": 2},
        {"cap": 100},
        {"rate": 100},
        {"length": 200},
        {"max_targets": 100},
        {"batch_size": 4},
        {"bos_id": 3},
        {"names": ["cb", "wsc"]},
    ]
    fingerprints = {data_of(caches, **change).fingerprint for change in changes}
    assert len(fingerprints | {base.fingerprint}) == len(changes) + 1
    renamed = {**caches, "cb": [made_up("other", 200, renderings=3)]}
    assert data_of(renamed).fingerprint != base.fingerprint
    assert data_of(caches, steps=7).fingerprint == base.fingerprint


def test_damaged_plan_files_are_planned_again(caches, tmp_path):
    expected = data_of(caches, plan_dir=tmp_path).batch(50)
    (path,) = tmp_path.glob("plan-*/part-*.npz")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:1000] + b"xyz" + whole[1003:]):
        path.write_bytes(damaged)
        assert_same(data_of(caches, plan_dir=tmp_path).batch(50), expected)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


def test_plan_files_with_examples_that_do_not_exist_are_planned_again(caches, tmp_path):
    expected = data_of(caches, plan_dir=tmp_path).batch(50)
    (path,) = tmp_path.glob("plan-*/part-*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays["examples"][7] = 2**31
    np.savez(path, **arrays)
    assert_same(data_of(caches, plan_dir=tmp_path).batch(50), expected)


def test_plan_files_with_other_rows_are_planned_again(caches, tmp_path):
    data = data_of(caches, plan_dir=tmp_path)
    expected = data.batch(50)
    (path,) = tmp_path.glob("plan-*/part-*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    longer = {**arrays, "row_ends": arrays["row_ends"].copy()}
    longer["row_ends"][3] = longer["row_ends"][4] - 1  # all but one of two rows' examples in one
    another = {**arrays, "examples": np.roll(arrays["examples"], 1)}
    another["examples"][0] = another["examples"][1]
    for changed in (longer, another):
        np.savez(path, **changed)
        assert_same(data_of(caches, plan_dir=tmp_path).batch(50), expected)


@pytest.mark.parametrize("stage", ["folder", "file"])
def test_plans_stay_in_memory_where_the_folder_is_read_only(
    caches, tmp_path, monkeypatch, stage, caplog
):
    def refused(*args, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    expected = data_of(caches).batch(2)
    if stage == "folder":
        monkeypatch.setattr(packing.Path, "mkdir", refused)
    else:
        monkeypatch.setattr(packing.atomic, "write_file", refused)
    data = data_of(caches, steps=2000, plan_dir=tmp_path)
    assert_same(data.batch(2), expected)
    data.observe()
    assert_same(data.batch(2), expected)
    assert caplog.text.count("packing plans are kept in memory") == 1


@pytest.mark.parametrize("token", [-7, 1000, 2_000_000_000])
def test_tokens_outside_the_vocabulary_are_refused(token):
    cache = made_up("cb", 200)
    assert data_of({"cb": [cache]}, ["cb"], vocab_size=1000).batch(0)
    cache.shards[0].tokens[:] = token
    data = data_of({"cb": [cache]}, ["cb"], vocab_size=1000)
    with pytest.raises(ValueError, match=f"step 0 has token {token}, .* tokens 0 to 999"):
        data.batch(0)


def test_a_plan_folder_of_other_rows_is_refused(caches, tmp_path):
    data_of(caches, plan_dir=tmp_path).batch(50)
    (path,) = tmp_path.glob("plan-*/part-*.npz")
    path.rename(path.with_name("part-000000-17rows.npz"))
    with pytest.raises(ValueError, match="delete the folder"):
        data_of(caches, plan_dir=tmp_path).batch(0)


# --- prefetch ---------------------------------------------------------------------------


def test_prefetch_yields_every_batch_in_order(caches):
    data = data_of(caches, steps=30)
    for step, batch in zip(range(5, 30), prefetch(data, 5, depth=3), strict=True):
        assert_same(batch, data.batch(step))


def test_prefetch_stops_its_thread_when_closed(caches):
    before = threading.active_count()
    batches = prefetch(data_of(caches), depth=2)
    next(batches)
    assert threading.active_count() == before + 1
    batches.close()
    assert threading.active_count() == before


def test_prefetch_works_ahead_but_not_further_than_its_depth():
    made = []

    class Slow:
        num_steps = 100

        def batch(self, step):
            made.append(step)
            return step

    batches = prefetch(Slow(), depth=3)
    assert next(batches) == 0
    for _ in range(100):
        time.sleep(0.01)
        if len(made) == 5:
            break
    time.sleep(0.05)
    assert made == [0, 1, 2, 3, 4]  # one taken, three waiting, one in hand
    batches.close()


def test_prefetch_raises_the_error_of_its_thread(caches):
    class Broken:
        num_steps = 3

        def batch(self, step):
            if step == 1:
                raise OSError("disk gone")
            return step

    batches = prefetch(Broken())
    assert next(batches) == 0
    with pytest.raises(OSError, match="disk gone"):
        next(batches)


# --- what users get wrong ---------------------------------------------------------------


def test_bad_arguments(caches):
    with pytest.raises(ValueError, match="Did you mean 'xsum'"):
        data_of(caches, names=["xsun"])
    with pytest.raises(ValueError, match="multiple"):
        data_of(caches, num_hosts=3)
    with pytest.raises(ValueError, match="host 4"):
        data_of(caches, host=4, num_hosts=4)
    with pytest.raises(ValueError, match="batch size"):
        data_of(caches, batch_size=0)
    with pytest.raises(ValueError, match="idebate"):
        data_of(caches, skip_empty=False)
    with pytest.raises(ValueError, match="idebate"):
        data_of(caches, names=["idebate"])
    with pytest.raises(ValueError, match="longest example"):
        data_of(caches, length=32)
    with pytest.raises(ValueError, match="max_targets"):
        data_of(caches, max_targets=3)
    with pytest.raises(ValueError, match="outside the 100 steps"):
        data_of(caches).batch(100)
    with pytest.raises(ValueError, match="depth"):
        next(prefetch(data_of(caches), depth=0))


def test_damaged_caches_are_refused(caches):
    (good,) = caches["wsc"]
    (shard,) = good.shards
    fields = {
        "tokens": shard.tokens,
        "offsets": shard.offsets,
        "input_lengths": shard.input_lengths,
    }
    broken = {
        "tokens": shard.tokens[:-1],
        "offsets": shard.offsets[::-1],
        "input_lengths": shard.input_lengths + 1000,
    }
    for name, array in broken.items():
        bad = type(shard)(**{**fields, name: array})
        cache = ArrayExamples("bad", 5, [bad], 5)
        with pytest.raises(ValueError, match="prepare"):
            data_of({"wsc": [cache]}, names=["wsc"])
    with pytest.raises(ValueError, match="hold 5"):
        data_of({"wsc": [ArrayExamples("bad", 6, [shard], 6)]}, names=["wsc"])


def test_threads_may_share_the_data(caches):
    data, alone = data_of(caches, steps=3000), data_of(caches, steps=3000)
    steps = [0, 2999, 1500, 700] * 3
    found: dict[int, Batch] = {}
    threads = [
        threading.Thread(target=lambda i, s: found.__setitem__(i, data.batch(s)), args=(i, s))
        for i, s in enumerate(steps)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, step in enumerate(steps):
        assert_same(found[i], alone.batch(step))
