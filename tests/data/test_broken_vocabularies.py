"""Tokenizers that load and do not work, and special tokens that are not marked as such."""

from __future__ import annotations

import io
import json

import pytest
import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import decoders, models, pre_tokenizers, trainers

from flan.data.hugging_face_vocabulary import HuggingFaceVocabulary
from flan.data.vocabulary import SentencePieceVocabulary, load_vocabulary

TEXTS = ["The dog is in the park.", "The cat is in the kitchen.\n- yes\n- no"] * 10


@pytest.fixture(scope="module")
def byte_level():
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return json.loads(tokenizer.to_str())


def written(folder, values):
    (folder / "tokenizer.json").write_text(json.dumps(values))
    names = {"eos_token": "<|end|>", "bos_token": "<|start|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": 1}))
    return folder / "tokenizer.json"


WORDS = {"a": 3, "b": 4}
UNDECLARED = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "Q", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": WORDS,
            }
        },
        {"model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": WORDS}},
        {"model": {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0], ["b", -2.0]]}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "CAAAAP//////////"}},
        {"post_processor": UNDECLARED},
        {"model": {"type": "BPE", "vocab": {}, "merges": []}, "added_tokens": []},
    ],
    ids=["WordPiece", "WordLevel", "Unigram", "charsmap", "charsmap2", "template", "empty"],
)
def test_a_tokenizer_that_does_not_work_is_refused_by_name(change, byte_level, tmp_path):
    path = written(tmp_path, {**byte_level, **change})
    with pytest.raises(ValueError, match=r"tokenizer\.json: "):
        load_vocabulary(path)


def test_an_end_that_is_not_marked_special_cannot_be_spelled_out(byte_level, tmp_path):
    added = [{**token, "special": False} for token in byte_level["added_tokens"]]
    vocabulary = load_vocabulary(written(tmp_path, {**byte_level, "added_tokens": added}))
    text = "yes<|end|>no <|start|>"
    ids = vocabulary.encode(text)
    assert not {0, 1} & set(ids)
    assert vocabulary.decode(ids) == text
    assert json.loads(vocabulary.content)["added_tokens"] == added


@pytest.mark.parametrize(("unk", "expected"), [(0, [2, 0, 2]), (None, [2, 2])])
def test_a_model_that_takes_its_end_for_a_word_does_not_give_it_to_a_text(unk, expected):
    words = models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([tokenizers.AddedToken("</s>", special=True, normalized=False)])
    vocabulary = HuggingFaceVocabulary(tokenizer.to_str(), 1, unk_id=unk)
    assert vocabulary.encode("a </s> a") == expected
    assert vocabulary.encode_batch(["a </s> a", "a"]) == [expected, [2]]


def test_a_sentencepiece_model_with_broken_pieces_is_refused():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        model_type="bpe",
        vocab_size=300,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["\n", "\t"],
        minloglevel=2,
    )
    SentencePieceVocabulary(model.getvalue())
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    longest = max((p.piece for p in proto.pieces), key=len).encode()
    for piece, spoiled, message in (
        (b"<s>", b"<\xff>", "SentencePiece model is damaged"),
        (longest, b"\xff" * len(longest), "not a SentencePiece model"),
    ):
        broken = model.getvalue().replace(piece, spoiled)
        with pytest.raises(ValueError, match=message):
            SentencePieceVocabulary(broken)
