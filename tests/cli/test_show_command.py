import pytest

from flan.catalog import get_dataset
from flan.cli.main import main
from flan.cli.tables import printable
from flan.data.example_rows import demo_examples
from flan.data.vocabulary import train_sentencepiece


@pytest.fixture(autouse=True)
def no_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    rows = demo_examples(get_dataset("rte"), 200)
    texts = [f"{e.row['premise']} {e.row['hypothesis']}\nOPTIONS:\n- yes\n- no" for e in rows]
    folder = tmp_path_factory.mktemp("show") / "vocabulary"
    train_sentencepiece(texts, folder, vocab_size=400, shrink=True)
    return folder


def show(capsys, *args):
    assert main(["show", *args]) == 0
    return capsys.readouterr().out


def test_a_row_through_all_templates(capsys):
    out = show(capsys, "rte")
    assert "generated demo rows" in out
    row = demo_examples(get_dataset("rte"), 1)[0]
    assert f"premise: {row.row['premise']}" in out
    assert [f"[t{n} " in out for n in range(10)] == [True] * 10
    assert "=> " in out


def test_one_template_and_several_rows(capsys):
    out = show(capsys, "rte", "--template", "t2", "--num", "3")
    assert out.count("[t2 forward]") == 3
    assert "[t1" not in out


def test_renderings(capsys):
    assert "OPTIONS" not in show(capsys, "rte", "--rendering", "no_options", "--template", "t0")
    assert "[RTE] " in show(capsys, "rte", "--rendering", "dataset_name")


def test_shots(capsys):
    plain = show(capsys, "rte", "--template", "t0")
    shots = show(capsys, "rte", "--template", "t0", "--shots", "3")
    assert "[t0 forward 3shot]" in shots
    assert shots.count("OPTIONS:") == 4 * plain.count("OPTIONS:")
    assert shots == show(capsys, "rte", "--template", "t0", "--shots", "3")


def test_tokens_and_loss_mask(capsys, vocabulary):
    out = show(capsys, "rte", "--template", "t0", "--vocabulary", str(vocabulary))
    read, learnt = (line for line in out.splitlines() if line.startswith("loss"))
    assert read.startswith("loss 0, ")
    assert "|\\n|" in read
    assert learnt.startswith("loss 1, ")
    assert learnt.endswith("EOS")
    assert "OPTIONS" not in learnt


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["rtee"], "Did you mean 'rte'"),
        (["rte", "--template", "t11"], "Did you mean 't1'"),
        (["rte", "--num", "0"], "give 1 or more"),
        (["rte", "--rendering", "no_optoins"], "Did you mean 'no_options'"),
        (["rte", "--shots", "100"], "give 1 to 64"),
        (["rte", "--source", "x"], "has no source 'x'"),
        (["rte", "--data_dir", "/nonexistent"], "no data folder"),
    ],
)
def test_mistakes(capsys, args, message):
    assert main(["show", *args]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.real_data
def test_real_rows(real_data, capsys):
    out = show(capsys, "trec", "--data_dir", str(real_data), "--split", "test", "--template", "t0")
    assert "test rows from" in out
    assert "label-coarse:" in out


def test_rows_cannot_drive_the_terminal():
    assert printable("a\x1b[31mred\x07\n\ttab") == "a\\u001b[31mred\\u0007\n\ttab"
    assert printable("\u202egnirts") == "\\u202egnirts"
    assert printable("日本é\u00a0x") == "日本é\u00a0x"
