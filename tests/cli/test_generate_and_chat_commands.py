"""`flan generate` and `flan chat` on a tiny model with random weights."""

import io
import json

import jax
import jax.numpy as jnp
import pytest

from flan.catalog.registry import get_dataset
from flan.checkpoints import layout
from flan.checkpoints.manager import CheckpointManager
from flan.cli.main import main
from flan.data.example_rows import demo_examples
from flan.data.vocabulary import train_sentencepiece
from flan.evaluation.answers import Conversation, answer_prompts
from flan.evaluation.model import load_model
from flan.models.config import ModelConfig
from flan.models.sampling import Decoding
from flan.training.state import TrainState, init_params

SHORT = ["--max_new_tokens", "6", "--input_length", "64"]
PROMPTS = ["Is Rome in Italy?", "A man plays. Does he rest?", "Name it."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("generate") / "model"
    root.mkdir()
    texts = [t for e in demo_examples(get_dataset("rte"), 60) for t in e.fields.values.values()]
    vocabulary = train_sentencepiece(texts, root / "vocabulary", 400, shrink=True)
    config = ModelConfig(
        vocab_size=0, num_layers=1, d_model=16, num_heads=2, d_head=8, d_ff=32
    ).for_vocabulary(vocabulary.vocab_size)
    layout.write_model_config(root, config)
    params = jax.tree.map(lambda x: 3 * x, init_params(config, jax.random.key(0)))
    manager = CheckpointManager(root)
    metadata = {"vocabulary_fingerprint": vocabulary.fingerprint}
    manager.save(TrainState(jnp.int32(3), params, {"count": jnp.int32(3)}), metadata)
    manager.close()
    return root


@pytest.fixture(scope="module")
def expected(folder):
    """Prompt -> answer, each alone."""
    model = load_model(folder, devices=1)
    answers = [
        answer_prompts(model, [p], input_length=64, max_new_tokens=6, batch_rows=4)[0]
        for p in PROMPTS
    ]
    return {p: a.text for p, a in zip(PROMPTS, answers, strict=True)}


def test_prompts_from_flags_files_and_standard_input(
    folder, expected, tmp_path, capsys, monkeypatch
):
    flags = [f for p in PROMPTS for f in ("--prompt", p)]
    assert main(["generate", str(folder), *flags, *SHORT, "--json"]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.split("\n") if line]
    assert {e["prompt"]: e["answer"] for e in entries} == expected
    assert all(e["tokens"] <= 6 and e["cut"] == 0 for e in entries)

    text = "\n\n".join(PROMPTS)
    (tmp_path / "prompts.txt").write_text(text + "\n")
    for source in (["--file", str(tmp_path / "prompts.txt")], []):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert main(["generate", str(folder), *source, *SHORT, "--json"]) == 0
        lines = capsys.readouterr().out.split("\n")
        assert [json.loads(x)["answer"] for x in lines if x] == list(expected.values())
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["generate", str(folder), "--whole", *SHORT, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == text


def test_a_long_prompt_is_cut_and_said(folder, capsys):
    long = " ".join(["rome"] * 300)
    for mode in ("instructions", "baseline"):
        flags = ["--prompt", long, "--mode", mode, *SHORT]
        assert main(["generate", str(folder), *flags]) == 0
        assert "tokens to fit into 64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prompt", "  "], "prompt 0 is empty"),
        (["--prompt", "a", "--temperature", "-1"], "temperature"),
        (["--prompt", "a", "--top_p", "0.5"], "need a temperature"),
        (["--prompt", "a", "--beams", "0"], "beams"),
        (["--prompt", "a", "--whole"], "--whole is for"),
        (["--prompt", "a", "--max_new_tokens", "0"], "max_new_tokens"),
        (["--prompt", "a", "--batch_rows", "0"], "positive"),
        (["--file", "/none/such"], "/none/such"),
        (["--file", "-"], "no prompt in standard input"),
    ],
)
def test_mistakes_exit_with_one_line(folder, capsys, monkeypatch, flags, message):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(["generate", str(folder), *SHORT, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_chat_answers_each_line(folder, expected, capsys, monkeypatch):
    typed = f"{PROMPTS[0]}\n\n{PROMPTS[2]}\n/quit\nnever\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["chat", str(folder), *SHORT]) == 0
    shown = capsys.readouterr().out
    assert shown == "".join(f"{expected[PROMPTS[i]]}\n" for i in (0, 2))


def test_an_answer_comes_in_pieces_and_can_be_stopped(folder, expected, capsys, monkeypatch):
    model = load_model(folder, devices=1)
    conversation = Conversation(model, input_length=64, max_new_tokens=6)
    pieces = list(conversation.stream(PROMPTS[1]))
    assert "".join(pieces) == expected[PROMPTS[1]]
    drawn = Conversation(model, "baseline", 64, 6, Decoding(temperature=1.0))
    assert list(drawn.stream("one")) != list(drawn.stream("one"))  # each prompt draws anew

    def stopped(self, prompt):
        yield "half"
        raise KeyboardInterrupt

    monkeypatch.setattr(Conversation, "stream", stopped)
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert main(["chat", str(folder), *SHORT]) == 0
    assert capsys.readouterr().out == "half\nhalf\n"


def test_history_stands_before_the_instruction(folder, monkeypatch, capsys):
    asked = []

    def stream(self, prompt):
        asked.append(prompt)
        yield f"answer {len(asked)}"

    monkeypatch.setattr(Conversation, "stream", stream)
    monkeypatch.setattr("sys.stdin", io.StringIO("first\\\nline\nsecond\nthird\n"))
    assert main(["chat", str(folder), "--history", "1", *SHORT]) == 0
    assert asked[0] == "first\nline"
    assert asked[1] == "first\nline\n\nanswer 1\n\n\nsecond"
    assert asked[2] == "second\n\nanswer 2\n\n\nthird"
    assert main(["chat", str(folder), "--history", "-1"]) == 2
