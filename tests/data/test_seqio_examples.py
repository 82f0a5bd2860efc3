"""Streams of seqio's own examples: ours as `get_dataset` and the caches have them, others' too.

Here the server is a thread; `tests/cli/test_train_seqio.py` has the process.
"""

from __future__ import annotations

import logging
import sys

import jax
import numpy as np
import pytest
import seqio

from flan.data import seqio_tasks, stream_rows
from flan.data.assemble import assemble
from flan.data.cache_plan import Request
from flan.data.loader import prefetch
from flan.data.prepare import prepare
from flan.data.seqio_examples import TASK, numbered
from flan.data.stream_rows import Chunk, RowStream
from flan.data.vocabulary import load_vocabulary, train_sentencepiece
from flan.models.config import ModelConfig
from flan.partitioning import MeshConfig, make_mesh
from flan.testing.packed import examples_of
from flan.training.optimizer import OptimizerConfig, make_optimizer
from flan.training.seqio_data import SeqioData
from flan.training.state import create_state
from flan.training.step import StepConfig, make_train_step, put_batch

LENGTHS = {"inputs": 96, "targets": 16}
WINDOW = 100
STEPS = 30  # of training


@pytest.fixture(autouse=True)
def quick(monkeypatch, server_threads):
    monkeypatch.setattr(stream_rows, "WINDOW", WINDOW)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    text = "The dog is in the park. OPTIONS:\n- yes\n- no\n"
    train_sentencepiece([text] * 20, out, 400, shrink=True)
    return out


@pytest.fixture
def opened(small_demo, vocabulary):
    """Opens data that are closed in the end."""
    found = []

    def open_(mixture, steps=60, batch_size=4, **settings):
        settings = {"feature_lengths": LENGTHS, "data_dir": str(small_demo), **settings}
        data = SeqioData(mixture=mixture, **settings)
        found.append(data.open(vocabulary, batch_size, steps, 0, 0, 1))
        return found[-1]

    yield open_
    for data in found:
        data.close()


# --- our tasks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flan_rte_t3", "rte,sst2,trec"])
def test_the_examples_are_those_of_get_dataset(opened, name):
    data = opened(name, batch_size=1, steps=200)
    dataset = seqio_tasks.get(name).get_dataset(LENGTHS, split="train", seed=0, num_epochs=None)
    expected = [
        ((*e["inputs"].tolist(), *e["targets"].tolist()), len(e["inputs"]))
        for e in dataset.take(2 * WINDOW).as_numpy_iterator()
    ]
    found: list = []
    for batch in prefetch(data):
        found += examples_of(batch)
        if len(found) >= 2 * WINDOW:
            break
    # Packed by the window, in an order of its own.
    for start in (0, WINDOW):
        assert sorted(found[start : start + WINDOW]) == sorted(expected[start : start + WINDOW])


def test_losses_are_those_of_the_cache(opened, small_demo, vocabulary, tmp_path):
    """The cache's examples, in the order of the stream, train to the same losses."""
    names = ("rte", "sst2", "trec")
    request = Request(
        names,
        tmp_path,
        small_demo,
        splits=("train",),
        vocabulary=vocabulary,
        input_length=LENGTHS["inputs"],
        target_length=LENGTHS["targets"],
        epochs=30,  # seqio shuffles a buffer of 1,000, which mixes epochs of 40 rows
    )
    cached = {}
    for number, caches in enumerate(prepare(request, workers=1).open_tokens().values()):
        (cache,) = caches
        for i in range(len(cache)):
            epoch = i // cache.num_rows
            cached[number, int(cache.row_ids[i]), epoch] = cache.example(i)

    data = opened(",".join(names), batch_size=2, steps=STEPS)
    order = numbered(seqio_tasks.get(",".join(names))).get_dataset(
        LENGTHS, split="train", seed=0, passthrough_features=["row_id", "epoch"]
    )

    def chunks():
        for e in order.as_numpy_iterator():
            number = int(e[TASK])
            x, y = cached[number, int(e["row_id"]), int(e["epoch"])]
            counts = (np.array([count]) for count in (len(x) + len(y), len(x), number))
            yield Chunk(np.concatenate([x, y]), *counts)

    rows = RowStream(chunks(), tasks=3, row_length=112, longest_targets=16, batch_size=2, seed=0)

    def from_cache():
        r = rows.next_rows()
        parts = np.split(r.tokens, np.cumsum(r.lengths)[:-1])
        return assemble(parts, r.input_lengths.tolist(), r.counts, 112)

    one = losses([data.batch(step) for step in range(STEPS)], data.max_targets)
    two = losses([from_cache() for _ in range(STEPS)], rows.max_targets)
    rows.close()
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert np.mean(one[-5:]) < one[0] - 1


def losses(batches, max_targets):
    model = ModelConfig(vocab_size=512, num_layers=1, d_model=16, num_heads=2, d_head=8, d_ff=32)
    mesh_config = MeshConfig(1)
    mesh = make_mesh(mesh_config, jax.devices()[:1])
    tx = make_optimizer(OptimizerConfig(learning_rate=1e-2))
    state = create_state(model, tx, 0, mesh, mesh_config)
    step = make_train_step(model, tx, StepConfig(), mesh, mesh_config, max_targets)
    found = []
    for batch in batches:
        state, metrics = step(state, put_batch(batch, mesh))
        found.append(float(metrics["loss"]))
    return found


def test_what_is_missing_is_told(opened, caplog):
    with pytest.raises(ValueError, match=r"lacks data(.|\n)*super_glue/cb"):
        opened("rte,cb")
    with caplog.at_level(logging.WARNING, "flan"):
        data = opened("rte,cb", on_missing="skip")
    assert "rte,cb goes without: cb needs super_glue/cb" in caplog.text
    assert [line.dataset for line in data.receipt.lines] == ["rte"]


# --- tasks of others --------------------------------------------------------------------

MODULE = """
import functools
import seqio
import tensorflow as tf
from flan.data.seqio_vocabulary import SeqioVocabulary

rows = [
    {"question": f"what is {a} + {b}?", "answer": str(a + b), "ids": [a + 2, b + 2]}
    for a in range(20) for b in range(20)
]

def dataset(split, shuffle_files=False, seed=None):
    spec = {
        "question": tf.TensorSpec([], tf.string),
        "answer": tf.TensorSpec([], tf.string),
        "ids": tf.TensorSpec([None], tf.int32),
    }
    return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=spec)

source = seqio.FunctionDataSource(dataset, ["train"], num_input_examples={"train": len(rows)})

def pick(dataset, **keys):
    return dataset.map(lambda e: {to: e[of] for to, of in keys.items()})

def task(name, features, *steps, **keys):
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[functools.partial(pick, **keys), *steps],
        output_features=features,
    )

words = seqio.Feature(SeqioVocabulary(VOCABULARY))
both = {"inputs": words, "targets": words}
steps = [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos_after_trim]
task("sums", both, *steps, inputs="question", targets="answer")
task("text", {"targets": words}, *steps, targets="question")
task("no_eos", both, seqio.preprocessors.tokenize, inputs="question", targets="answer")
other = seqio.Feature(SeqioVocabulary(OTHER))
task("other", {"inputs": other, "targets": other}, *steps, inputs="question", targets="answer")
piece = seqio.Feature(seqio.SentencePieceVocabulary(VOCABULARY + "/sentencepiece.model"))
task("pieces", {"inputs": piece, "targets": piece}, *steps, inputs="question", targets="answer")
letters = seqio.Feature(seqio.ByteVocabulary())
task("letters", {"inputs": letters, "targets": letters}, *steps, inputs="question", targets="answer")
ids = seqio.Feature(seqio.PassThroughVocabulary(300), add_eos=False)
task("ids", {"inputs": ids, "targets": ids}, inputs="ids", targets="ids")
many = seqio.Feature(seqio.PassThroughVocabulary(100_000), add_eos=False)
task("many", {"targets": many}, targets="ids")
wave = seqio.ContinuousFeature(dtype=tf.float32)
task("wave", {"targets": wave}, targets="ids")
task("encoder", {"inputs": words}, *steps, inputs="question")
task(
    "no_loss",
    both,
    *steps,
    lambda dataset: dataset.map(lambda e: {**e, "targets": e["targets"][:0]}),
    inputs="question",
    targets="answer",
)

def fails(dataset):
    def broken(x):
        raise KeyError("no such thing")
    return dataset.map(
        lambda e: {**e, "targets": tf.numpy_function(broken, [e["targets"]], tf.int32)}
    ).map(lambda e: {**e, "targets": tf.ensure_shape(e["targets"], [None])})

task("failing", both, *steps, fails, inputs="question", targets="answer")
seqio.MixtureRegistry.add("mine", [("sums", 3), ("no_eos", 1)])
seqio.MixtureRegistry.add("both_worlds", [("sums", 0.5), ("flan_rte", 0.25)])
"""
NAMES = ("sums", "text", "no_eos", "other", "pieces", "letters", "ids", "many", "wave", "encoder")
NAMES += ("no_loss", "failing", "mine", "both_worlds")


@pytest.fixture
def module(tmp_path, monkeypatch, vocabulary):
    """A user's module that registers tasks; its name."""
    train_sentencepiece(["completely different words"] * 20, tmp_path / "other", 300, shrink=True)
    folders = f"VOCABULARY, OTHER = {str(vocabulary)!r}, {str(tmp_path / 'other')!r}\n"
    (tmp_path / "users_tasks.py").write_text(folders + MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "users_tasks"
    sys.modules.pop("users_tasks", None)
    for name in NAMES:
        for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
            if name in registry.names():
                registry.remove(name)


def decoded(data, words, steps=1):
    found = set()
    for step in range(steps):
        for ids, inputs in examples_of(data.batch(step)):
            found.add((words.decode(ids[:inputs]), words.decode(ids[inputs:])))
    return found


def test_a_user_s_tasks(opened, module, vocabulary, caplog):
    words = load_vocabulary(vocabulary)
    sums = {(f"what is {a} + {b}?", str(a + b)) for a in range(20) for b in range(20)}
    for name in ("sums", "pieces"):
        data = opened(name, modules=module)
        assert decoded(data, words, 3) < sums
        assert [(v.dataset, v.found) for v in data.receipt.lines] == [(name, 400)]
        assert not [r for r in caplog.records if r.name.startswith("flan")]
    lengths = {"targets": 60}
    text = opened("text", modules=[module], feature_lengths=lengths)
    assert text.max_targets == text.length == 60
    assert decoded(text, words) < {("", question) for question, _ in sums}
    batch = text.batch(1)
    assert ((batch.segment_ids > 0) == (batch.loss_weights > 0)).all()
    assert decoded(opened("both_worlds", modules=module), words, 3) & sums
    observed = opened("mine", modules=module, steps=40).observe()
    rates = {line.dataset: (line.rate, line.observed) for line in observed.lines}
    assert rates["sums"][0] == 3
    assert 2 < rates["sums"][1] / rates["no_eos"][1] < 4
    assert "mine: not every example ends in EOS" in caplog.text


def test_tasks_of_ids_are_taken_with_a_warning(opened, module, caplog):
    data = opened("ids", modules=module)
    assert "gives token ids and not text" in caplog.text
    ids, inputs = examples_of(data.batch(0))[0]
    assert (len(ids), inputs) == (4, 2)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("sumz", {}, "unknown task or mixture 'sumz'. Did you mean 'sums'"),
        ("flan_rtee", {}, "Did you mean 'flan_rte'"),
        ("other", {}, "task other: its inputs have another vocabulary .*other.* it encodes"),
        ("letters", {}, "task letters: its inputs have another vocabulary.*encodes 'OPTIONS"),
        ("many", {"feature_lengths": {"targets": 50}}, "it has 100000 ids and the run's"),
        ("text", {}, r"has the features \['targets'\] and .* as in \{'targets': 1280\}"),
        ("sums", {"feature_lengths": {"targets": 50}}, "as in {'inputs': 1024, 'targets': 256}"),
        ("wave", {"feature_lengths": {"targets": 50}}, "targets must be a list of token ids"),
        ("encoder", {}, r"has the features \['inputs'\]: a decoder-only model"),
        ("no_loss", {}, "none of the stream's first 100 examples has target tokens"),
        ("failing", {}, "KeyError: 'no such thing'"),
    ],
)
def test_tasks_that_cannot_be_trained_on(opened, module, name, settings, told):
    with pytest.raises(ValueError, match=told):
        opened(name, modules=module, **settings)


def test_modules_that_cannot_be_imported(opened, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_tasks.py").write_text("1 / 0")
    for name, told in (
        ("no_such_module", "cannot import the module 'no_such_module' of SEQIO_MODULES"),
        ("users_tasks.py", "write 'users_tasks', without .py"),
        ("broken_tasks", "ZeroDivisionError: division by zero"),
    ):
        with pytest.raises(ValueError, match=told):
            opened("sums", modules=name)


def test_the_vocabulary_of_a_task(module, tmp_path, vocabulary):
    def own(name, **settings):
        data = SeqioData(mixture=name, modules=module, cache_dir=str(tmp_path), **settings)
        return data.vocabulary(None)

    assert own("sums") == vocabulary
    taken = own("pieces")
    assert taken.parent == tmp_path / "vocabularies"
    assert load_vocabulary(taken).fingerprint == load_vocabulary(vocabulary).fingerprint
    assert own("pieces") == taken
    with pytest.raises(ValueError, match="letters has a ByteVocabulary, which cannot be taken"):
        own("letters")
    with pytest.raises(ValueError, match="Did you mean 'sums'"):
        own("sumz")


def test_tasks_of_ours_get_a_vocabulary_of_their_rows(module, small_demo, tmp_path):
    data = SeqioData(
        mixture="rte",
        modules=module,
        data_dir=str(small_demo),
        cache_dir=str(tmp_path),
        vocab_size=400,
    )
    assert "bpe-400" in str(data.vocabulary(None))
