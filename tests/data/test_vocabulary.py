"""Vocabularies: exact round trips, refusals, and the gate."""

import concurrent.futures
import io
import json

import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from flan.data import word_cache
from flan.data.hugging_face_vocabulary import HuggingFaceVocabulary, save_hugging_face
from flan.data.vocabulary import (
    SentencePieceVocabulary,
    check_round_trip,
    load_vocabulary,
    train_sentencepiece,
)

SENTENCES = [
    f"The {animal} is in the {place} with {count} things.\n\nOPTIONS:\n- yes\n- no"
    for animal in ("dog", "cat", "horse", "bird")
    for place in ("park", "kitchen", "garden")
    for count in range(10)
]
SIZE = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "sentencepiece"
    train_sentencepiece(SENTENCES, out, SIZE)
    return out


@pytest.fixture(scope="module")
def vocabulary(folder):
    return load_vocabulary(folder)


@pytest.fixture(scope="module")
def byte_level_json():
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer.to_str()


@pytest.fixture(scope="module")
def byte_level(byte_level_json):
    return HuggingFaceVocabulary(byte_level_json, eos_id=1, bos_id=0)


TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \n\t\r\0▁\ue000<0x0A>yesno-"),
    )
)


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_any_text_comes_back(vocabulary, byte_level, text):
    for each in (vocabulary, byte_level):
        ids = each.encode(text)
        assert each.decode(ids) == text
        assert all(0 <= i < each.vocab_size for i in ids)
        assert each.eos_id not in ids


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(TEXTS, max_size=6))
def test_a_batch_is_each_text_alone(vocabulary, byte_level, texts):
    for each in (vocabulary, byte_level):
        assert each.encode_batch(texts) == [each.encode(t) for t in texts]


@settings(max_examples=400, deadline=None)
@given(texts=st.lists(TEXTS | st.text("ab \n\t. -"), max_size=4))
def test_word_by_word_is_what_sentencepiece_does(folder, vocabulary, texts):
    processor = sentencepiece.SentencePieceProcessor(str(folder / "sentencepiece.model"))
    texts = [text.replace("▁", " ") for text in texts]
    assert vocabulary.encode_batch(texts) == processor.encode(texts, out_type=int)


def test_words_are_forgotten_before_they_fill_the_memory(vocabulary, monkeypatch):
    monkeypatch.setattr(word_cache, "_MOST_WORDS", 5)
    fresh = SentencePieceVocabulary(vocabulary.model)
    texts = [" ".join(f"word{i * 7 + j}" for j in range(7)) for i in range(4)]
    assert [fresh.encode(t) for t in texts] == [vocabulary.encode(t) for t in texts]


def test_words_are_learned_again_after_an_interruption(vocabulary):
    fresh = SentencePieceVocabulary(vocabulary.model)
    processor = fresh._words._processor

    class Interrupted:
        def encode(self, *args, **kwargs):
            raise KeyboardInterrupt

    fresh._words._processor = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        fresh.encode("the dog is")
    fresh._words._processor = processor
    for text in ("dog", "the dog is", "\n the  dog\nis\n"):
        assert fresh.encode(text) == vocabulary.encode(text)


def test_threads_may_encode_together(vocabulary):
    fresh = SentencePieceVocabulary(vocabulary.model)
    texts = [f"dog {n} and\n{n + 1} the park {n * n}" for n in range(300)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fresh.encode, texts)) == vocabulary.encode_batch(texts)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "unigram"},
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": True},
        {"split_by_whitespace": False},
        {"user_defined_symbols": []},
        {"user_defined_symbols": ["\n", "the dog"]},
        {"normalization_rule_name": "nmt_nfkc"},
    ],
)
def test_foreign_models_are_encoded_as_they_would_themselves(change):
    options = {
        "model_type": "bpe",
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "user_defined_symbols": ["\n"],
        "byte_fallback": True,
        "vocab_size": 330,
        **change,
    }
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the dog is in the dog house with the dog - yes or no"] * 50),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    texts = ["the dog is", "in the  dog\nhouse ", " \n the dog", "", "xyz the dogs"]
    ours = SentencePieceVocabulary(model.getvalue())
    assert ours.encode_batch(texts) == theirs.encode(texts, out_type=int)


def test_ids_of_our_own(vocabulary):
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    assert vocabulary.bos_id == 0
    assert vocabulary.vocab_size == SIZE


def test_special_tokens_spelled_out_are_text(vocabulary, byte_level):
    assert vocabulary.eos_id not in vocabulary.encode("</s> <pad> <unk>")
    assert byte_level.eos_id not in byte_level.encode("an <|end|> of it")
    assert byte_level.decode(byte_level.encode("an <|end|> of it")) == "an <|end|> of it"


def test_a_target_has_the_tokens_it_has_in_the_options(vocabulary):
    options = vocabulary.encode("OPTIONS:\n- yes\n- no")
    yes = vocabulary.encode("yes")
    assert any(options[i : i + len(yes)] == yes for i in range(len(options)))


def test_decoding_ends_at_eos_and_skips_padding(vocabulary, byte_level):
    ids = vocabulary.encode("the dog")
    assert vocabulary.decode([*ids, 0, 1, *ids]) == "the dog"
    assert byte_level.decode([*byte_level.encode("the dog"), 1, 5]) == "the dog"


def test_ids_out_of_range_do_not_break_decoding(vocabulary, byte_level):
    assert "dog" in vocabulary.decode([*vocabulary.encode("dog"), 10**6, -1])
    assert byte_level.decode([*byte_level.encode("dog"), 10**6, -1]) == "dog"


def test_the_same_texts_give_the_same_bytes(folder, tmp_path):
    train_sentencepiece(iter(SENTENCES), tmp_path / "again", SIZE)
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_too_little_text_says_what_it_supports(tmp_path):
    with pytest.raises(ValueError, match=r"too small for a vocabulary of 32000: it supports \d+"):
        train_sentencepiece(SENTENCES, tmp_path / "v")
    assert list(tmp_path.iterdir()) == []
    shrunk = train_sentencepiece(SENTENCES, tmp_path / "v", shrink=True)
    assert 300 < shrunk.vocab_size < 32_000


def test_too_small_a_vocabulary_says_what_it_needs(tmp_path):
    with pytest.raises(ValueError, match=r"no room for the characters .* ask for \d+ or more"):
        train_sentencepiece(SENTENCES, tmp_path / "v", 200)


def test_no_text_at_all(tmp_path):
    with pytest.raises(ValueError, match="no text to train"):
        train_sentencepiece(["\n\n", ""], tmp_path / "v")


def test_tabs_and_long_lines_are_learned_from(tmp_path):
    text = "alpha\tbeta " * 20_000
    vocabulary = train_sentencepiece([text], tmp_path / "v", 290, shrink=True)
    assert len(vocabulary.encode("alpha beta")) < 6


def test_an_existing_folder_is_kept(folder):
    before = (folder / "sentencepiece.model").read_bytes()
    with pytest.raises(ValueError, match="is there already"):
        train_sentencepiece(SENTENCES, folder, SIZE)
    assert (folder / "sentencepiece.model").read_bytes() == before


def test_overwriting_replaces_the_folder(tmp_path):
    train_sentencepiece(SENTENCES, tmp_path / "v", 350)
    train_sentencepiece(SENTENCES, tmp_path / "v", 380, overwrite=True)
    assert load_vocabulary(tmp_path / "v").vocab_size == 380
    assert [p.name for p in tmp_path.iterdir()] == ["v"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flan.data.atomic.write_file", full)
    with pytest.raises(OSError, match="No space left"):
        train_sentencepiece(SENTENCES, tmp_path / "v", SIZE)
    assert list(tmp_path.iterdir()) == []


def test_loading_a_model_file_alone(folder, vocabulary):
    alone = load_vocabulary(folder / "sentencepiece.model")
    assert alone.fingerprint == vocabulary.fingerprint


def test_no_vocabulary_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="flan vocab train"):
        load_vocabulary(tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"neither sentencepiece.model .*readme.txt"):
        load_vocabulary(tmp_path)


def test_a_damaged_model(folder, tmp_path):
    (tmp_path / "sentencepiece.model").write_bytes(b"\xff\x00not a model")
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        load_vocabulary(tmp_path)


def test_a_description_of_another_vocabulary(folder, tmp_path):
    (tmp_path / "sentencepiece.model").write_bytes((folder / "sentencepiece.model").read_bytes())
    description = json.loads((folder / "vocabulary.json").read_text())
    (tmp_path / "vocabulary.json").write_text(json.dumps({**description, "fingerprint": "0" * 64}))
    with pytest.raises(ValueError, match="describes another vocabulary"):
        load_vocabulary(tmp_path)
    (tmp_path / "vocabulary.json").write_text('{"format": "something-else"}')
    with pytest.raises(ValueError, match="not a vocabulary description"):
        load_vocabulary(tmp_path)


def test_hugging_face_ids_come_from_the_config_beside_it(byte_level_json, tmp_path):
    (tmp_path / "tokenizer.json").write_text(byte_level_json)
    with pytest.raises(ValueError, match="names the EOS token"):
        load_vocabulary(tmp_path)
    config = {"eos_token": {"content": "<|end|>"}, "bos_token": "<|start|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load_vocabulary(tmp_path)
    assert (loaded.eos_id, loaded.bos_id, loaded.unk_id) == (1, 0, 1)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "config.json").write_text('{"eos_token_id": [1, 7], "bos_token_id": 0}')
    assert load_vocabulary(tmp_path / "tokenizer.json").fingerprint == loaded.fingerprint


def test_hugging_face_saves_and_loads(byte_level, tmp_path):
    save_hugging_face(byte_level, tmp_path)
    loaded = load_vocabulary(tmp_path)
    assert (loaded.fingerprint, loaded.eos_id, loaded.bos_id) == (byte_level.fingerprint, 1, 0)


def test_hugging_face_refuses_what_is_none(byte_level_json, tmp_path):
    with pytest.raises(ValueError, match="not a Hugging Face tokenizer"):
        HuggingFaceVocabulary('{"version": "1.0"}', eos_id=1)
    with pytest.raises(ValueError, match="eos_id 100000 is no token"):
        HuggingFaceVocabulary(byte_level_json, eos_id=100_000)
    (tmp_path / "tokenizer.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="not a Hugging Face tokenizer"):
        load_vocabulary(tmp_path / "tokenizer.json")


def test_fingerprints_tell_the_ids_apart(byte_level_json):
    one, other = (HuggingFaceVocabulary(byte_level_json, eos_id=e) for e in (0, 1))
    assert one.fingerprint != other.fingerprint


def test_the_gate_passes_ours(vocabulary, byte_level):
    options = {"rte": ("yes", "no"), "mnli": ("yes", "it is not possible to tell", "no")}
    assert check_round_trip(vocabulary, options) == []
    assert check_round_trip(byte_level, options.values()) == []


def word_level(words, normalizer=None):
    tokenizer = tokenizers.Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(["<unk>", "<end>", *words])}, "<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if normalizer:
        tokenizer.normalizer = normalizer
    return HuggingFaceVocabulary(tokenizer.to_str(), eos_id=1, unk_id=0)


def test_the_gate_refuses_lost_line_ends():
    with pytest.raises(ValueError, match=r"loses line ends: 'OPTIONS:\\n- yes\\n- no' comes back"):
        check_round_trip(word_level(["OPTIONS:", "-", "yes", "no", "first", "third"]))


def test_the_gate_names_options_that_become_equal():
    vocabulary = word_level(["yes"], normalizers.Lowercase())
    with pytest.raises(ValueError, match="options 'Yes' and 'yes' of rte get the same tokens"):
        check_round_trip(vocabulary, {"rte": ("Yes", "yes")})
    with pytest.raises(ValueError, match="options 'true' and 'false' get the same tokens"):
        check_round_trip(vocabulary, [("true", "false")])
    with pytest.raises(ValueError, match="option '' of odd has no tokens"):
        check_round_trip(vocabulary, {"odd": ("", "yes")})


def test_the_gate_notes_what_else_is_lost(byte_level_json):
    tokenizer = tokenizers.Tokenizer.from_str(byte_level_json)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()])
    lowered = HuggingFaceVocabulary(tokenizer.to_str(), eos_id=1)
    assert check_round_trip(lowered, [("yes", "no")]) == [
        "capital letters",
        "accents",
        "quotes and dashes",
    ]
