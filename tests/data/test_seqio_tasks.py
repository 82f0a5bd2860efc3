"""Our tasks in seqio: by name, lazily, token for token what the caches hold."""

import collections
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan.catalog.clusters import training_datasets
from flan.data import seqio_tasks
from flan.data.cache_plan import Request
from flan.data.demo import write_demo
from flan.data.prepare import prepare
from flan.data.row_prints import train_prints
from flan.data.rows import UnusableSource
from flan.data.vocabulary import load_vocabulary, train_sentencepiece

LENGTHS = {"inputs": 1024, "targets": 256}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    train_sentencepiece(
        ["The dog is in the park. OPTIONS:\n- yes\n- no\n"] * 20, out, 320, shrink=True
    )
    return out


@pytest.fixture(autouse=True)
def configured(demo_data_dir, vocabulary):
    seqio_tasks.install()
    seqio_tasks.configure(
        data_dir=str(demo_data_dir),
        vocabulary_dir=str(vocabulary),
        seed=0,
        cap=30_000,
        rate=3000,
        skip_missing=False,
    )


def examples(name, split="train", lengths=LENGTHS, **options):
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        sequence_length=lengths, split=split, **{"shuffle": False, **options}
    )
    return list(dataset.as_numpy_iterator())


def cached(demo_data_dir, vocabulary, tmp_path, name, **options):
    request = Request((name,), tmp_path, demo_data_dir, vocabulary=vocabulary, **options)
    return prepare(request).open_tokens()[name]


@pytest.mark.parametrize(
    ("name", "dataset", "options"),
    [
        ("flan_rte_t3", "rte", {"template": "t3"}),
        ("flan_rte_no_options", "rte", {"rendering": "no_options"}),
        ("flan_rte_dataset_name", "rte", {"rendering": "dataset_name"}),
        ("flan_rte_no_template_2shot", "rte", {"rendering": "no_template_2shot"}),
        ("flan_rte_text", "rte", {"rendering": "text"}),
    ],
)
def test_tokens_are_those_of_the_cache(demo_data_dir, vocabulary, tmp_path, name, dataset, options):
    caches = cached(demo_data_dir, vocabulary, tmp_path, dataset, **options)
    ours = [
        (source, int(c.row_ids[i]), int(c.template_ids[i]), *(a.tolist() for a in c.example(i)))
        for source, c in enumerate(caches)
        for i in range(len(c))
    ]
    theirs = [
        (e["source"], e["row_id"], e["template"], e["inputs"].tolist(), e["targets"].tolist())
        for e in examples(name)
    ]
    assert theirs == ours


def test_later_epochs_too(demo_data_dir, vocabulary, tmp_path):
    (cache,) = cached(demo_data_dir, vocabulary, tmp_path, "rte", epochs=3)
    theirs = [e["inputs"].tolist() for e in examples("flan_rte", num_epochs=3)]
    assert theirs == [cache.example(i)[0].tolist() for i in range(len(cache))]


def test_shuffling_and_sharding_keep_rows_and_templates():
    plain = {(e["source"], e["row_id"]): e["inputs"].tolist() for e in examples("flan_anli")}
    shuffled = examples("flan_anli", shuffle=True, seed=3)
    order = [(e["source"], e["row_id"]) for e in shuffled]
    assert order != list(plain)
    assert {(e["source"], e["row_id"]): e["inputs"].tolist() for e in shuffled} == plain
    for shards in (2, 5):
        parts = [
            examples("flan_anli", shard_info=seqio.ShardInfo(i, shards)) for i in range(shards)
        ]
        found = {(e["source"], e["row_id"]): e["inputs"].tolist() for part in parts for e in part}
        assert found == plain
        assert sum(map(len, parts)) == len(plain)


def test_shuffled_epochs_meet_each_template_once():
    by_row = collections.defaultdict(list)
    for e in examples("flan_rte", shuffle=True, seed=1, num_epochs=10):
        by_row[int(e["row_id"])].append(int(e["template"]))
    assert len(by_row) == 48
    assert all(sorted(t) == list(range(10)) for t in by_row.values())


def test_lengths_are_cut_by_our_rule(demo_data_dir, vocabulary, tmp_path):
    (cache,) = cached(demo_data_dir, vocabulary, tmp_path, "rte", input_length=20, target_length=2)
    theirs = examples("flan_rte", lengths={"inputs": 20, "targets": 2})
    assert [e["inputs"].tolist() for e in theirs] == [
        cache.example(i)[0].tolist() for i in range(len(cache))
    ]
    assert {e["inputs"][-1] for e in theirs} == {1}
    uncut = examples("flan_rte", lengths=None)
    words = load_vocabulary(vocabulary)
    for e in uncut:
        assert e["inputs"].tolist() == [*words.encode(e["inputs_pretokenized"].decode()), 1]


def test_cutting_is_what_seqio_s_own_step_does():
    task = seqio.get_mixture_or_task("flan_rte")
    uncut = examples("flan_rte", lengths=None)
    lengths = {"inputs": 20, "targets": 2}
    tokens = [{k: e[k][:-1] for k in LENGTHS} for e in uncut]
    spec = {k: tf.TensorSpec([None], tf.int32) for k in LENGTHS}
    bare = tf.data.Dataset.from_generator(lambda: iter(tokens), output_signature=spec)
    theirs = seqio.preprocessors.append_eos_after_trim(bare, task.output_features, lengths)
    ours = examples("flan_rte", lengths=lengths)
    for mine, other in zip(ours, theirs.as_numpy_iterator(), strict=True):
        for key in LENGTHS:
            assert mine[key].tolist() == other[key].tolist()


def test_splits():
    task = seqio.get_mixture_or_task("flan_rte")
    assert task.splits == ["train", "validation", "test"]
    assert {s: task.num_input_examples(s) for s in task.splits} == {
        "train": 48,
        "validation": 12,
        "test": 20,
    }
    inverted = {
        i for i, t in enumerate(seqio_tasks.load_templates("rte").templates) if t.kind == "inverted"
    }
    assert inverted & {int(e["template"]) for e in examples("flan_rte")}
    for split in ("validation", "test"):
        found = examples("flan_rte", split)
        assert len(found) == task.num_input_examples(split)
        assert not inverted & {int(e["template"]) for e in found}


def test_inverted_templates_only_train():
    template = next(
        t.id for t in seqio_tasks.load_templates("rte").templates if t.kind == "inverted"
    )
    task = seqio.get_mixture_or_task(f"flan_rte_{template}")
    assert task.splits == ["train"]
    assert task.metric_fns == []
    assert len(examples(f"flan_rte_{template}")) == 48


def test_a_dataset_s_cap_is_shared_by_its_sources():
    seqio_tasks.configure(cap=30)
    counts = collections.Counter(int(e["source"]) for e in examples("flan_anli"))
    assert counts == {0: 10, 1: 10, 2: 10}


def test_dropped_rows_do_not_appear(monkeypatch):
    import dataclasses

    from flan.catalog import registry

    rte = registry.get_dataset("rte")
    some = dataclasses.replace(
        rte, to_fields=lambda row: rte.to_fields(row) if row["idx"] % 3 else None
    )
    monkeypatch.setitem(registry._DATASETS, "rte", some)
    seqio_tasks.configure()
    found = [int(e["row_id"]) for e in examples("flan_rte", num_epochs=2)]
    assert found == 2 * [i for i in range(48) if i % 3]
    assert seqio_tasks.mixing_rate(seqio.get_mixture_or_task("flan_rte")) == 32
    seqio_tasks.configure(rate=20)
    assert seqio_tasks.mixing_rate(seqio.get_mixture_or_task("flan_rte")) == 20


def test_errors_in_rows_name_them(monkeypatch):
    import dataclasses

    from flan.catalog import registry

    def fails(row):
        raise KeyError("hypothese")

    broken = dataclasses.replace(registry.get_dataset("rte"), to_fields=fails)
    monkeypatch.setitem(registry._DATASETS, "rte", broken)
    seqio_tasks.configure()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"rte: to_fields fails on row 0"):
        examples("flan_rte")


def test_mixtures(caplog):
    names = ["rte", "anli", "arc", "xsum", "bool_q"]
    with pytest.raises(
        ValueError, match=r"flan_all lacks data:(.|\n)*super_glue/cb(.|\n)*skip_missing"
    ):
        seqio.get_mixture_or_task("flan_all")
    seqio_tasks.configure(skip_missing=True)
    mixture = seqio.get_mixture_or_task("flan_all")
    assert {t.name for t in mixture.tasks} == {f"flan_{n}" for n in names}
    rates = {t.name: mixture.get_rate(t) for t in mixture.tasks}
    assert rates["flan_rte"] == 48
    assert rates["flan_anli"] == 180
    assert "flan_all goes without: cb needs super_glue/cb" in caplog.text
    held_out = seqio.get_mixture_or_task("flan_loo_nli_no_options")
    assert {t.name for t in held_out.tasks} == {
        f"flan_{n}_no_options" for n in names if n in training_datasets("nli")
    }
    dataset = held_out.get_dataset(sequence_length=LENGTHS, split="train", seed=0)
    for example in dataset.take(5).as_numpy_iterator():
        assert set(example) == set(LENGTHS)
        assert example["inputs"].dtype == np.int32


def test_a_mixture_samples_in_proportion():
    seqio_tasks.configure(skip_missing=True)
    mixture = seqio.get_mixture_or_task("flan_loo_summarization")
    dataset = mixture.get_dataset(
        sequence_length=LENGTHS, split="train", seed=1, passthrough_features=["fields"]
    )
    drawn = collections.Counter(
        "hypothesis" in json.loads(e["fields"])["values"]
        for e in dataset.take(2000).as_numpy_iterator()
    )
    rates = {t.name: mixture.get_rate(t) for t in mixture.tasks}
    expected = (rates["flan_rte"] + rates["flan_anli"]) / sum(rates.values())
    assert abs(drawn[True] / 2000 - expected) < 0.05


def test_packing_converters_take_them():
    task = seqio.get_mixture_or_task("flan_rte")
    dataset = task.get_dataset(sequence_length=LENGTHS, split="train", shuffle=False)
    converter = seqio.PrefixLMFeatureConverter(pack=True)
    packed = list(converter(dataset, LENGTHS).as_numpy_iterator())
    tokens = sum(int((p["decoder_target_tokens"] != 0).sum()) for p in packed)
    assert tokens == sum(len(e["inputs"]) + len(e["targets"]) for e in examples("flan_rte"))


def test_names_that_are_none():
    for name in ("flan_rtee", "flan_rte_t99", "flan_rte_5", "rte", "flan_rte,flan_arc"):
        assert name not in seqio.TaskRegistry.names()
        assert name not in seqio.MixtureRegistry.names()
    with pytest.raises(ValueError, match="No Task or Mixture found"):
        seqio.get_mixture_or_task("flan_rtee")
    with pytest.raises(ValueError, match=r"unknown task or mixture 'flan_rtee'.*'flan_rte'"):
        seqio_tasks.get("flan_rtee")
    assert seqio_tasks.get("flan_rte").name == "flan_rte"


def test_the_registry_still_takes_and_lists_others(vocabulary):
    task = seqio.get_mixture_or_task("flan_rte")
    seqio.TaskRegistry.add(
        "someone_elses", source=task.source, output_features=task.output_features
    )
    try:
        assert "someone_elses" in list(seqio.TaskRegistry.names())
        assert "flan_rte" in list(seqio.TaskRegistry.names())
        assert "flan_arc_t2" not in list(seqio.TaskRegistry.names())
        with pytest.raises(ValueError, match="duplicate provider"):
            seqio.TaskRegistry.add("flan_rte", source=task.source, output_features={})
        seqio_tasks.configure(seed=4)
        assert "someone_elses" in list(seqio.TaskRegistry.names())
        assert seqio.get_mixture_or_task("flan_rte") is not task
    finally:
        seqio.TaskRegistry.remove("someone_elses")


def test_seeds_choose_other_templates():
    before = [int(e["template"]) for e in examples("flan_rte")]
    seqio_tasks.configure(seed=4)
    assert [int(e["template"]) for e in examples("flan_rte")] != before


def test_offline_caches_hold_fields_and_still_vary_templates(tmp_path, monkeypatch):
    task = seqio.get_mixture_or_task("flan_rte")
    before = [e["inputs"].tolist() for e in examples("flan_rte", num_epochs=2)]
    precached = task.preprocess_precache(task.source.get_dataset("train", shuffle=False))
    rows = list(precached.as_numpy_iterator())
    folder = tmp_path / "flan_rte"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "train.tfrecord-00000-of-00001")) as writer:
        for row in rows:
            writer.write(seqio.dict_to_tfexample(row).SerializeToString())
    features = {
        k: {"shape": [], "dtype": spec.dtype.name} for k, spec in precached.element_spec.items()
    }
    info = {"num_shards": 1, "features": features, "seqio_version": seqio.__version__}
    (folder / "info.train.json").write_text(json.dumps(info))
    (folder / "stats.train.json").write_text(json.dumps({"examples": len(rows)}))
    (folder / "COMPLETED").touch()
    monkeypatch.setattr(seqio.utils, "_GLOBAL_CACHE_DIRECTORIES", [str(tmp_path)])
    found = examples("flan_rte", use_cached=True, num_epochs=2)
    assert [e["inputs"].tolist() for e in found] == before


def test_seqio_evaluates_them(tmp_path):
    evaluator = seqio.Evaluator(
        "flan_rte",
        feature_converter=seqio.PrefixLMFeatureConverter(pack=False),
        eval_split="validation",
        sequence_length=LENGTHS,
        use_memory_cache=False,
    )
    words = load_vocabulary(seqio_tasks.vocabulary().path)
    right = [e["targets"].tolist() for e in examples("flan_rte", "validation")]

    def predict(answers):
        padded = [a + [0] * (64 - len(a)) for a in answers]
        return lambda dataset: list(enumerate(padded))

    def accuracy(answers):
        found, _ = evaluator.evaluate(
            compute_metrics=True, step=0, predict_fn=predict(answers), score_fn=None
        )
        return found.result()["flan_rte"]["accuracy"]

    assert accuracy(right) == 100
    wrong = [words.encode("something else") for _ in right]
    assert accuracy(wrong) == 0
    half = [w if i % 2 else r for i, (w, r) in enumerate(zip(wrong, right, strict=True))]
    assert accuracy(half) == 50


BARE = """
import os, sys
import seqio
import flan.data.seqio_tasks
assert not list(seqio.TaskRegistry.names()) and not list(seqio.MixtureRegistry.names())
assert "flan_rte" in seqio.TaskRegistry.names() and "flan_all" in seqio.MixtureRegistry.names()
"""


def run(code, home, **environment):
    import os

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLAN_", "TFDS_"))}
    return subprocess.run(
        [sys.executable, "-c", BARE + code],
        env={**kept, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_fresh_process_needs_the_import_and_the_environment_alone(
    demo_data_dir, vocabulary, tmp_path
):
    code = """
dataset = seqio.get_mixture_or_task("flan_rte").get_dataset(
    sequence_length={"inputs": 64, "targets": 16}, split="train", shuffle=False)
print(next(dataset.as_numpy_iterator())["row_id"])
for name in ("FLAN_DATA_DIR", "FLAN_VOCABULARY"):
    value = os.environ.pop(name)
    try:
        seqio.get_mixture_or_task("flan_arc")
    except ValueError as error:
        print(name in str(error))
    os.environ[name] = value
"""
    done = run(code, tmp_path, FLAN_DATA_DIR=str(demo_data_dir), FLAN_VOCABULARY=str(vocabulary))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "True", "True"]


def test_a_missing_dataset_says_how_to_get_it():
    with pytest.raises(ValueError, match=r"cb needs super_glue/cb:.*tfds build"):
        examples("flan_cb")


def test_a_missing_evaluation_source_does_not_keep_from_training(tmp_path):
    write_demo(tmp_path, ["wsc"], train_rows=60, eval_rows=20)
    shutil.rmtree(tmp_path / "wsc273")
    seqio_tasks.configure(data_dir=str(tmp_path))
    assert list(seqio_tasks.get("flan_wsc").splits) == ["train", "validation"]
    assert len(examples("flan_wsc")) == 48
    with pytest.raises(UnusableSource, match=r"needs wsc273:1\.0\.0"):
        seqio_tasks.get("flan_wsc").source.readers("test")
    request = Request(("wsc",), tmp_path / "cache", tmp_path)
    (prints,) = train_prints(request, stream=True)
    assert len(prints.ids) == 48
    shutil.rmtree(tmp_path / "super_glue")
    seqio_tasks.configure(data_dir=str(tmp_path))
    with pytest.raises(UnusableSource, match="needs super_glue/wsc"):
        list(seqio_tasks.get("flan_wsc").splits)


@pytest.mark.real_data
def test_real_data_token_for_token(real_data, tmp_path, vocabulary):
    seqio_tasks.configure(data_dir=str(real_data))
    for name in ("wnli", "squad", "coqa", "wsc"):
        request = Request((name,), tmp_path, real_data, vocabulary=vocabulary, splits=("train",))
        caches = prepare(request).open_tokens()[name]
        ours = [c.example(i)[0].tolist() for c in caches for i in range(len(c))]
        assert [e["inputs"].tolist() for e in examples(f"flan_{name}")] == ours
