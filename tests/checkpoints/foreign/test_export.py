"""Export to Hugging Face: exact both ways, the tokenizer too, nothing half-written."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_models import (
    FAMILIES,
    LLAMA,
    SPECIAL,
    TEXTS,
    as_tree,
    byte_level_tokenizer,
    hugging_face_tensors,
    random_parameters,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from flan.checkpoints import layout
from flan.checkpoints.foreign.detect import open_foreign
from flan.checkpoints.foreign.export_model import export_model
from flan.checkpoints.foreign.export_tokenizer import sentencepiece_tokenizer
from flan.checkpoints.foreign.import_model import import_model
from flan.checkpoints.foreign.our_model import OurModel
from flan.checkpoints.foreign.safetensors_io import SafetensorsFiles
from flan.checkpoints.inference import load_for_inference
from flan.checkpoints.manager import CheckpointManager, quiet_orbax
from flan.cli.main import main
from flan.data.hugging_face_vocabulary import HuggingFaceVocabulary, save_hugging_face
from flan.data.vocabulary import load_vocabulary, train_sentencepiece
from flan.models.transformer import Transformer
from flan.training.state import TrainState

quiet_orbax()


def model_folder(folder, config, flat, metadata=None, sentencepiece=None):
    """A model folder as training leaves it."""
    folder.mkdir()
    layout.write_model_config(folder, config)
    if sentencepiece:
        layout.copy_vocabulary(sentencepiece, folder)
    else:
        (folder / "vocabulary").mkdir()
        vocabulary = HuggingFaceVocabulary(byte_level_tokenizer().to_str(), 2, 1, 0)
        save_hugging_face(vocabulary, folder / "vocabulary")
    manager = CheckpointManager(folder)
    params = jax.tree.map(jnp.asarray, as_tree(flat))
    manager.save(TrainState(jnp.int32(4), params, {"count": jnp.int32(4)}), metadata or {})
    manager.close()
    return folder


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces") / "vocabulary"
    train_sentencepiece(TEXTS, folder, 340, shrink=True)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_ours_to_hugging_face_and_back_is_exact(name, tmp_path):
    config, flat = FAMILIES[name], random_parameters(FAMILIES[name])
    if name == "gemma":  # its norms are stored less 1: exact for numbers with few bits
        flat = {k: v.astype(np.float16).astype(np.float32) for k, v in flat.items()}
    ours = model_folder(tmp_path / "ours", config, flat, {"reads_start": False})
    architecture = export_model(OurModel(ours), tmp_path / "hf", max_shard_bytes=60_000)
    values = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert values["architectures"] == [architecture]
    # This tokenizer is not Qwen's, so that its network becomes a Llama with biases.
    assert architecture.lower().startswith(name.split("_")[0].replace("qwen2", "llama"))
    source = SafetensorsFiles(tmp_path / "hf")
    assert len(source.files) > 3
    expected = hugging_face_tensors(config, flat)
    if name == "qwen2":
        out = "model.layers.{}.self_attn.o_proj.bias"
        expected |= {out.format(i): np.zeros(64, np.float32) for i in range(3)}
    assert source.infos.keys() == expected.keys()
    for key, x in expected.items():
        np.testing.assert_array_equal(source.read(key), x)
    import_model(open_foreign("hf", tmp_path / "hf"), tmp_path / "back")
    back = load_for_inference(tmp_path / "back")
    assert back.model_config == config
    assert back.metadata["reads_start"] is False
    assert (
        back.metadata["vocabulary_fingerprint"] == load_vocabulary(ours / "vocabulary").fingerprint
    )
    jax.tree.map(np.testing.assert_array_equal, back.params, as_tree(flat))


def test_biases_with_qwens_own_tokenizer_are_a_qwen2(tmp_path):
    from flan.checkpoints.foreign.gguf_tokenizer import CUTTINGS, _byte_level

    plain = json.loads(byte_level_tokenizer().to_str())
    tokens = sorted(plain["model"]["vocab"], key=plain["model"]["vocab"].__getitem__)
    merges = [" ".join(pair) for pair in plain["model"]["merges"]]
    content = json.loads(_byte_level(tokens, merges, CUTTINGS["qwen2"]).to_str())
    content["added_tokens"] = plain["added_tokens"]
    config, flat = FAMILIES["qwen2"], random_parameters(FAMILIES["qwen2"])
    ours = model_folder(tmp_path / "ours", config, flat, {"reads_start": False})
    vocabulary = HuggingFaceVocabulary(json.dumps(content), 2, 1, 0)
    save_hugging_face(vocabulary, ours / "vocabulary")
    named = ours / "vocabulary" / "tokenizer_config.json"
    named.write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer"}))
    for folder, reads_start, architecture, tokenizer in (
        ("qwen", False, "Qwen2ForCausalLM", "Qwen2Tokenizer"),
        ("starts", True, "LlamaForCausalLM", "PreTrainedTokenizerFast"),
    ):
        model = OurModel(ours)
        model.metadata["reads_start"] = reads_start
        assert export_model(model, tmp_path / folder) == architecture
        written = json.loads((tmp_path / folder / "tokenizer_config.json").read_text())
        assert written["tokenizer_class"] == tokenizer


def test_t5s_factors_are_folded_into_the_weights(tmp_path, sentencepiece):
    config = dataclasses.replace(LLAMA, vocab_size=384, scale_logits=True, scale_attention=False)
    flat = random_parameters(config)
    flat["layers/self_attention/query/kernel"] /= 4  # T5's initial scale, d_head^-0.5
    ours = model_folder(tmp_path / "ours", config, flat, sentencepiece=sentencepiece)
    export_model(OurModel(ours), tmp_path / "hf")
    import_model(open_foreign("hf", tmp_path / "hf"), tmp_path / "back")
    tokens = np.arange(1, 13, dtype=np.int32)[None]
    logits = []
    for folder in (ours, tmp_path / "back"):
        found = load_for_inference(folder)
        logits.append(Transformer(found.model_config).apply({"params": found.params}, tokens))
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4)
    assert np.abs(logits[0]).max() > 0.1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_weights_are_the_rounded_ones(dtype, tmp_path):
    flat = random_parameters(LLAMA)
    ours = model_folder(tmp_path / "ours", LLAMA, flat)
    assert main(["convert", str(ours), str(tmp_path / "hf"), "--dtype", dtype]) == 0
    source = SafetensorsFiles(tmp_path / "hf")
    for key, x in hugging_face_tensors(LLAMA, flat).items():
        np.testing.assert_array_equal(source.read(key), x.astype(jnp.dtype(dtype)))


def test_a_start_token_that_training_gave_is_the_tokenizers_first(tmp_path, sentencepiece):
    flat = random_parameters(LLAMA)
    ours = model_folder(tmp_path / "ours", LLAMA, flat)  # trained: reads the start token
    export_model(OurModel(ours), tmp_path / "hf")
    tokenizer = Tokenizer.from_file(str(tmp_path / "hf" / "tokenizer.json"))
    assert tokenizer.encode("dog").ids == [1, *byte_level_tokenizer().encode("dog").ids]
    assert open_foreign("hf", tmp_path / "hf").reads_start is True
    config = json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"]) == SPECIAL[1:]
    pieces = dataclasses.replace(LLAMA, vocab_size=384)
    other = model_folder(
        tmp_path / "other", pieces, random_parameters(pieces), sentencepiece=sentencepiece
    )
    export_model(OurModel(other), tmp_path / "hf2")
    tokenizer = Tokenizer.from_file(str(tmp_path / "hf2" / "tokenizer.json"))
    expected = load_vocabulary(sentencepiece).encode("The dog\n- yes")
    assert tokenizer.encode("The dog\n- yes").ids == [0, *expected]
    ids = json.loads((tmp_path / "hf2" / "config.json").read_text())
    assert (ids["bos_token_id"], ids["eos_token_id"], ids["pad_token_id"]) == (0, 1, 0)


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(
        st.one_of(
            st.characters(exclude_categories=["Cs"], exclude_characters="▁"),
            st.sampled_from(" \n\tTheyesno-.123"),
        )
    )
)
def test_exported_pieces_give_the_same_ids_and_texts(sentencepiece, text):
    vocabulary = load_vocabulary(sentencepiece)
    exported = sentencepiece_tokenizer(vocabulary)
    exported.encode_special_tokens = True
    ids = vocabulary.encode(text)
    assert exported.encode(text, add_special_tokens=False).ids == ids
    assert exported.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "relative"}, "T5's relative attention bias"),
        ({"qkv_bias": True, "qk_norm": True}, "qkv_bias with qk_norm in one network"),
        ({"scale_embeddings": True}, "without Gemma's GELU"),
    ],
)
def test_what_transformers_does_not_have_is_refused(change, message, tmp_path, capsys):
    config = dataclasses.replace(LLAMA, **change)
    ours = model_folder(tmp_path / "ours", config, random_parameters(config))
    assert main(["convert", str(ours), str(tmp_path / "hf")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()


def test_mistakes_leave_nothing(tmp_path, capsys):
    flat = random_parameters(LLAMA)
    flat["decoder_norm/scale"][3] = 1e30
    ours = model_folder(tmp_path / "ours", LLAMA, flat)

    def fails(message, *arguments):
        assert main(["convert", *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err

    fails("is there already", ours, ours)
    fails("not finite in float16", ours, tmp_path / "hf", "--dtype", "float16")
    fails("should be a size such as", ours, tmp_path / "hf", "--max_shard_size", "big")
    fails("a model folder of ours already", ours, tmp_path / "hf", "--to", "flan")
    fails("no model at", tmp_path / "none", tmp_path / "hf")
    layout.write_model_config(ours, dataclasses.replace(LLAMA, vocab_size=200))
    fails("the embedding 200 rows", ours, tmp_path / "hf")
    layout.write_model_config(ours, dataclasses.replace(LLAMA, d_ff=128))
    fails("has shape (3, 64, 96), expected (3, 64, 128)", ours, tmp_path / "hf")
    assert [p.name for p in tmp_path.iterdir()] == ["ours"]
