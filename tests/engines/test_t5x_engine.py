"""T5X as an engine: our network and our tasks through its own train and evaluate functions."""

from __future__ import annotations

import json

import gin
import jax
import numpy as np
import pytest
import seqio

from flan.data import seqio_tasks
from flan.data.vocabulary import train_sentencepiece
from flan.engines import t5x as engine
from flan.evaluation.generation import generate
from flan.evaluation.prompts import GenerationRequest
from flan.models import ModelConfig, Transformer

NO_T5X = "T5X is not installed (docs/t5x.md)"
# On CPUs T5X splits a model over all devices there are.
SIZES = {"num_layers": 2, "d_model": 32, "num_heads": 8, "d_head": 4, "d_ff": 48}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    text = ["The dog is in the park. Does it follow? OPTIONS:\n- yes\n- no\n"] * 20
    train_sentencepiece(text, out, 320, shrink=True)
    return out


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    monkeypatch.setattr(seqio_tasks, "_settings", seqio_tasks.Settings())
    yield
    gin.clear_config()
    seqio_tasks.configure()


def test_the_network_fits_the_vocabulary_that_the_tasks_use(small_demo, vocabulary):
    words = engine.vocabulary(str(vocabulary), str(small_demo))
    task = seqio.get_mixture_or_task("flan_rte")
    assert task.output_features["inputs"].vocabulary == words
    rows = engine.network(ModelConfig(vocab_size=0, **SIZES), words).config.vocab_size
    assert rows == engine.embedding_rows(words)
    assert rows % 128 == 0
    assert 0 <= rows - words.vocab_size < 128
    with pytest.raises(ValueError, match="only 5 rows"):
        engine.network(ModelConfig(vocab_size=5, **SIZES), words)


@pytest.fixture
def bindings(small_demo, vocabulary):
    pytest.importorskip("t5x", reason=NO_T5X)
    return [
        f"DATA_DIR = {str(small_demo)!r}",
        f"VOCABULARY = {str(vocabulary)!r}",
        "TASK_FEATURE_LENGTHS = {'inputs': 96, 'targets': 16}",
        *(f"ModelConfig.{name} = {value}" for name, value in SIZES.items()),
    ]


FILES = ("configs/models/tiny.gin",)


def test_t5x_trains_and_evaluates(bindings, tmp_path):
    run, scores = tmp_path / "run", tmp_path / "scores"
    step, state = engine.run(
        "train",
        ["configs/t5x/finetune.gin", *FILES],
        [
            *bindings,
            f"MODEL_DIR = {str(run)!r}",
            "MIXTURE_OR_TASK_NAME = 'flan_rte'",
            "TRAIN_STEPS = 4",
            "EVAL_PERIOD = 2",
            "SAVE_PERIOD = 2",
            "LEARNING_RATE = 0.01",
        ],
    )
    assert step == int(state.step) == 4
    # Some versions of T5X save step 0, too.
    assert {p.name for p in run.glob("checkpoint_*")} - {"checkpoint_0"} == {
        "checkpoint_2",
        "checkpoint_4",
    }
    engine.run(
        "eval",
        ["configs/t5x/eval.gin", *FILES],
        [
            *bindings,
            f"CHECKPOINT_PATH = {str(run / 'checkpoint_4')!r}",
            f"EVAL_OUTPUT_DIR = {str(scores)!r}",
            "MIXTURE_OR_TASK_NAME = 'flan_rte_t0'",
        ],
    )
    lines = (scores / "inference_eval" / "flan_rte_t0-metrics.jsonl").read_text().splitlines()
    assert 0 <= json.loads(lines[-1])["accuracy"] <= 100


def test_t5x_writes_what_our_greedy_decoding_writes(vocabulary, small_demo):
    models = pytest.importorskip("t5x.models", reason=NO_T5X)
    from t5x import decoding

    config = ModelConfig(vocab_size=50, **SIZES)
    module = Transformer(config)
    ones = np.ones((1, 4), np.int32)
    params = jax.jit(module.init)(jax.random.key(0), ones, ones)["params"]
    rng = np.random.default_rng(0)
    prompts, lengths = rng.integers(2, 50, (3, 7)), np.array([7, 3, 5])
    inputs = np.zeros((3, 14), np.int32)
    causal = np.zeros((3, 14), np.int32)
    for row, length in enumerate(lengths):
        prompts[row, length:] = 0
        inputs[row, 1 : length + 1] = prompts[row, :length]
        causal[row, : length + 1] = 1
    model = models.DecoderOnlyModel(
        module=module,
        vocabulary=seqio.PassThroughVocabulary(50, eos_id=1),
        optimizer_def=None,
        decode_fn=decoding.temperature_sample,
    )
    batch = {"decoder_input_tokens": inputs, "decoder_causal_attention": causal}
    requests = [
        GenerationRequest(tuple(prompts[row, :length].tolist()))
        for row, length in enumerate(lengths)
    ]
    expected = np.zeros((3, 6), np.int32)
    answers = generate(module, params, requests, eos_id=1, max_new_tokens=6)
    for row, answer in enumerate(answers):
        whole = [*answer, 1][:6]
        expected[row, : len(whole)] = whole
    for decodes in (1, 2):
        found, _ = model.predict_batch_with_aux(
            params,
            batch,
            num_decodes=decodes,
            decoder_params={"temperature": 0.0, "topk": 1, "max_decode_steps": 6},
        )
        np.testing.assert_array_equal(np.asarray(found)[:, :6], expected)
