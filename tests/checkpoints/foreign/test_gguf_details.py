"""GGUF files as llama.cpp reads them: scaling, special tokens, pieces of spaces, odd metadata."""

from __future__ import annotations

import io
import time

import pytest
import sentencepiece
from foreign_models import FAMILIES, LLAMA, TEXTS, random_parameters, write_gguf
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer

from flan.checkpoints.foreign.export_tokenizer import sentencepiece_tokenizer
from flan.checkpoints.foreign.gguf_config import read_config
from flan.checkpoints.foreign.gguf_file import GgufFile
from flan.checkpoints.foreign.gguf_tokenizer import read_tokenizer
from flan.checkpoints.foreign.piece_tokenizer import piece_tokenizer
from flan.data.hugging_face_vocabulary import HuggingFaceVocabulary
from flan.data.sentencepiece_vocabulary import SentencePieceVocabulary
from flan.models.rope_scaling import RopeScaling

PARAMETERS = random_parameters(LLAMA)


def gguf(tmp_path, *, metadata=(), leave_out=(), config=LLAMA, tensors=(), arch="llama"):
    """A file with other metadata: key -> value, a string, a float or a list."""

    def change(writer, there):
        kept = writer.kv_data[0]
        for key in (*leave_out, *dict(metadata)):
            kept.pop(key, None)
        for key, value in dict(metadata).items():
            if isinstance(value, list):
                writer.add_array(key, value)
            elif isinstance(value, bool):
                writer.add_bool(key, value)
            elif isinstance(value, str):
                writer.add_string(key, value)
            else:
                writer.add_float32(key, value)
        there.update(dict(tensors))

    flat = PARAMETERS if config is LLAMA else random_parameters(config)
    return GgufFile(write_gguf(tmp_path / "m.gguf", config, flat, arch=arch, change=change))


SCALING = "llama.rope.scaling.type"
FACTOR = "llama.rope.scaling.factor"


@pytest.mark.parametrize(
    ("metadata", "factor"),
    [
        ({SCALING: "linear", FACTOR: 2.0}, 2.0),
        ({FACTOR: 4.0}, 4.0),
        ({"llama.rope.scale_linear": 4.0}, 4.0),
        ({FACTOR: 1.0}, None),
        ({SCALING: "none", FACTOR: 4.0}, None),
        ({SCALING: "linear"}, None),
    ],
)
def test_linear_scaling_is_by_the_factor(metadata, factor, tmp_path):
    _, config = read_config(gguf(tmp_path, metadata=metadata))
    assert config.rope_scaling == (factor and RopeScaling("linear", factor))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"general.architecture": ["llama", "b"]}}, "unknown architecture"),
        ({"metadata": {SCALING: ["a", "b"]}}, "scaled by"),
        ({"metadata": {FACTOR: "x"}}, "rope.scaling.factor should be above 0, is 'x'"),
        ({"metadata": {"llama.rope.freq_base": float("inf")}}, "m.gguf: rope_theta must be"),
        ({"metadata": {"llama.rope.freq_base": float("nan")}}, "freq_base should be above 0"),
        (
            {
                "metadata": {SCALING: "linear", FACTOR: 2.0},
                "tensors": {"rope_freqs.weight": RopeScaling("llama3", 8.0).divisors(16, 50_000.0)},
            },
            "divided by 2 and by rope_freqs.weight",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_config(gguf(tmp_path, **change))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tokenizer.ggml.pre": ["a", "b"]}, "unknown pre-tokenizer"),
        ({"tokenizer.ggml.token_type": ["x"] * 300}, "token_type should be a list of 300 numbers"),
        (
            {"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": ["x"] * 300},
            "scores should be a list of 300 numbers",
        ),
        ({"tokenizer.ggml.model": "llama"}, "scores should be a list of 300 numbers"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_refused(metadata, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_tokenizer(gguf(tmp_path, metadata=metadata))


@pytest.mark.parametrize("kind", [1, 4])
def test_an_end_of_text_that_a_text_spells_out_is_no_end(kind, tmp_path):
    types = [3, 3, kind, *[1] * 297]
    found = read_tokenizer(gguf(tmp_path, metadata={"tokenizer.ggml.token_type": types}))
    vocabulary = HuggingFaceVocabulary(found.content, found.ids["eos"])
    text = "yes<|im_end|>no"
    ids = vocabulary.encode(text)
    assert 2 not in ids
    assert vocabulary.decode(ids) == text


def test_files_older_than_pre_tokenizer_names_are_cut_by_their_family(tmp_path):
    for arch, name, composed in (("qwen2", "qwen2", True), ("llama", "llama", False)):
        file = gguf(tmp_path, config=FAMILIES[name], arch=arch, leave_out=["tokenizer.ggml.pre"])
        normalizer = Tokenizer.from_str(read_tokenizer(file).content).normalizer
        assert (normalizer is not None) is composed


def test_a_long_token_takes_no_time():
    with pytest.raises(ValueError, match="a piece has 200,000 characters"):
        piece_tokenizer(["<u>", "a" * 200_000], [0.0, 0.0], [2, 1], space_first=True)
    start = time.monotonic()
    piece_tokenizer(["<u>", "a", "a" * 900], [0.0, 0.0, 0.0], [2, 1, 1], space_first=True)
    assert time.monotonic() - start < 1


def pieces_with_spaces():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        model_type="bpe",
        vocab_size=340,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        user_defined_symbols=["\n", "\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "<b>"],
        pad_id=-1,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        minloglevel=2,
    )
    return SentencePieceVocabulary(model.getvalue())


SPACED = ["  two  spaces", "The   dog\n\nhas <b>12</b>    things  ", " ", "", "a </s> b"]


def test_pieces_of_spaces_keep_their_ids_in_an_export():
    vocabulary = pieces_with_spaces()
    exported = sentencepiece_tokenizer(vocabulary)
    exported.encode_special_tokens = True
    for text in SPACED:
        ids = exported.encode(text, add_special_tokens=False).ids
        assert ids == vocabulary.encode(text)
        assert exported.decode(ids) == text


@pytest.mark.parametrize("marked", [True, False])
def test_pieces_of_spaces_keep_their_ids_in_a_gguf_file(marked, tmp_path):
    vocabulary = pieces_with_spaces()
    proto = sentencepiece_model_pb2.ModelProto.FromString(vocabulary.model)
    # llama.cpp's converter writes the marks of user-defined pieces as spaces.
    tokens = [
        p.piece if marked or p.type != 4 else p.piece.replace("\u2581", " ") for p in proto.pieces
    ]
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [p.type for p in proto.pieces],
        "tokenizer.ggml.scores": [p.score for p in proto.pieces],
        "tokenizer.ggml.add_space_prefix": False,
    }
    found = read_tokenizer(gguf(tmp_path, metadata=metadata))
    read = HuggingFaceVocabulary(found.content, 2, 1, 0)
    for text in SPACED:
        assert read.encode(text) == vocabulary.encode(text)
        assert read.decode(read.encode(text)) == text
    with pytest.raises(ValueError, match="cannot be kept: it has a space"):
        read_tokenizer(
            gguf(tmp_path, metadata={**metadata, "tokenizer.ggml.add_space_prefix": True})
        )
