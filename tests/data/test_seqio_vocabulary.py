"""The seqio wrapper agrees with the vocabulary, in Python and in a graph."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf

from flan.data.seqio_vocabulary import SeqioVocabulary
from flan.data.vocabulary import load_vocabulary, train_sentencepiece

TEXTS = ["", "the dog", "OPTIONS:\n- yes\n- no", "  two ", "a▁b", "café 你好", "</s>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("seqio_vocabulary") / "v"
    train_sentencepiece(["the dog is in the park - yes or no", *TEXTS] * 20, out, 400, shrink=True)
    return out


@pytest.fixture(scope="module")
def wrapped(folder):
    return SeqioVocabulary(folder)


def test_python_encoding_and_ids(folder, wrapped):
    plain = load_vocabulary(folder)
    assert [wrapped.encode(t) for t in TEXTS] == [plain.encode(t) for t in TEXTS]
    assert [wrapped.decode(plain.encode(t)) for t in TEXTS] == TEXTS
    assert wrapped.decode([*plain.encode("the dog"), 1, 5, 6]) == "the dog"
    assert (wrapped.vocab_size, wrapped.pad_id, wrapped.eos_id) == (plain.vocab_size, 0, 1)
    assert (wrapped.unk_id, wrapped.bos_id) == (2, 0)


def test_graph_encoding_equals_python(wrapped):
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).map(wrapped.encode_tf)
    assert dataset.element_spec == tf.TensorSpec([None], tf.int32)
    assert [ids.tolist() for ids in dataset.as_numpy_iterator()] == [
        wrapped.encode(t) for t in TEXTS
    ]


def test_graph_decoding_equals_python(wrapped):
    rows = [wrapped.encode(t) for t in TEXTS]
    padded = np.zeros((len(rows), 40), np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    assert [t.decode() for t in wrapped.decode_tf(tf.constant(padded)).numpy()] == TEXTS
    one = wrapped.decode_tf(tf.constant(padded[1]))
    assert one.shape == ()
    assert one.numpy().decode() == TEXTS[1]


def test_tf_text_reads_our_model_to_the_same_ids(folder, wrapped):
    import tensorflow_text as tf_text

    model = (folder / "sentencepiece.model").read_bytes()
    tokenizer = tf_text.SentencepieceTokenizer(model=model)
    plain = [t for t in TEXTS if "▁" not in t]
    assert [tokenizer.tokenize(t).numpy().tolist() for t in plain] == [
        wrapped.encode(t) for t in plain
    ]


def test_copies_load_again_and_are_equal(wrapped):
    for other in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        assert other == wrapped
        assert hash(other) == hash(wrapped)
        assert other.encode("the dog") == wrapped.encode("the dog")


def test_different_vocabularies_differ(wrapped, tmp_path):
    train_sentencepiece(["quite other words"] * 50, tmp_path / "v", 300, shrink=True)
    assert SeqioVocabulary(tmp_path / "v") != wrapped
    assert wrapped != "a string"
