"""`flan prepare` and `flan vocab` from the command line."""

import json
import sys

import pytest

from flan.cli.main import main
from flan.data.vocabulary import load_vocabulary


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    from flan.data.demo import write_demo

    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, ["rte", "arc"], train_rows=60, eval_rows=20)
    return folder


@pytest.fixture(scope="module")
def vocabulary(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "v"
    flags = ["--datasets", "rte,arc", "--data_dir", str(data_dir), "--vocab_size", "450"]
    cache = ["--cache_dir", str(out.parent / "cache")]
    assert main(["vocab", "train", "--out", str(out), *flags, *cache]) == 0
    return out


def test_a_trained_vocabulary(vocabulary):
    loaded = load_vocabulary(vocabulary)
    assert loaded.vocab_size == 450
    text = "OPTIONS:\n- yes\n- no"
    assert loaded.decode(loaded.encode(text)) == text


def test_training_again_refuses_or_replaces(vocabulary, data_dir, tmp_path, capsys):
    flags = ["--datasets", "rte", "--data_dir", str(data_dir), "--cache_dir", str(tmp_path / "c")]
    assert main(["vocab", "train", "--out", str(vocabulary), *flags]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["vocab", "train", "--out", str(tmp_path / "v"), *flags]) == 2
    assert "too small for a vocabulary of 32000" in capsys.readouterr().err
    assert not (tmp_path / "v").exists()
    assert main(["vocab", "train", "--out", str(tmp_path / "v"), *flags, "--shrink"]) == 0
    assert load_vocabulary(tmp_path / "v").vocab_size < 32_000


def test_missing_datasets_are_named_or_left_out(data_dir, tmp_path, capsys):
    flags = [
        "--datasets",
        "rte,cb",
        "--data_dir",
        str(data_dir),
        "--cache_dir",
        str(tmp_path / "c"),
    ]
    train = ["vocab", "train", "--out", str(tmp_path / "v"), "--shrink", *flags]
    assert main(train) == 2
    assert "super_glue/cb" in capsys.readouterr().err
    assert main([*train, "--skip_missing"]) == 0
    assert "left out cb" in capsys.readouterr().out


def test_checking(vocabulary, tmp_path, capsys):
    assert main(["vocab", "check", str(vocabulary)]) == 0
    out = capsys.readouterr().out
    assert "450 tokens; pad 0, EOS 1, unknown 2, first 0" in out
    assert "gives every text back exactly" in out
    assert main(["vocab", "check", str(tmp_path / "none")]) == 2
    assert "no vocabulary at" in capsys.readouterr().err
    assert main(["vocab", "check", str(vocabulary), "--datasets", "rtee"]) == 2
    assert "unknown dataset or cluster 'rtee'" in capsys.readouterr().err


def test_checking_a_vocabulary_that_loses_line_ends(tmp_path, capsys):
    import tokenizers
    from tokenizers import models, pre_tokenizers

    tokenizer = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "<end>": 1}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    (tmp_path / "config.json").write_text('{"eos_token_id": 1}')
    assert main(["vocab", "check", str(tmp_path), "--datasets", "rte"]) == 2
    error = capsys.readouterr().err
    assert "loses line ends" in error
    assert "options 'yes' and 'no' of rte" in error


def test_preparing_prints_a_table(data_dir, vocabulary, tmp_path, capsys):
    flags = ["--data_dir", str(data_dir), "--cache_dir", str(tmp_path), "--epochs", "2"]
    flags += ["--vocabulary", str(vocabulary), "--input_length", "60"]
    assert main(["prepare", "--datasets", "rte,arc", *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("dataset", "train", "dev", "test", "dropped"),
        *("examples", "tokens", "cut"),
    ]
    (rte,) = (line.split() for line in lines if line.startswith("rte"))
    assert rte[1:6] == ["48", "12", "20", "0", "96"]
    assert int(rte[7]) > 0


def test_mixture_names_choose_datasets_and_rendering(data_dir, vocabulary, tmp_path, capsys):
    flags = ["--data_dir", str(data_dir), "--cache_dir", str(tmp_path), "--skip_missing"]
    flags += ["--vocabulary", str(vocabulary)]
    assert main(["prepare", "--datasets", "flan_loo_nli_no_options", *flags]) == 0
    out = capsys.readouterr().out
    assert "arc" in out
    assert "left out copa" in out
    manifest = next((tmp_path / "tokens").glob("arc/*/manifest.json"))
    assert json.loads(manifest.read_text())["identity"]["rendering"] == "no_options"
    assert not (tmp_path / "tokens" / "rte").exists()


def test_results_and_errors_as_json(data_dir, vocabulary, tmp_path, capsys):
    flags = ["--cache_dir", str(tmp_path / "c"), "--result", str(tmp_path / "result.json")]
    good = ["prepare", "--datasets", "rte", "--data_dir", str(data_dir), *flags]
    assert main(good) == 0
    answer = json.loads((tmp_path / "result.json").read_text())
    assert len(answer["caches"]) == 3
    assert answer["missing"] == {}
    bad = ["prepare", "--datasets", "rte", "--data_dir", str(tmp_path / "nowhere"), *flags]
    assert main(bad) == 2
    assert "no data folder" in json.loads((tmp_path / "result.json").read_text())["error"]


def test_beam_that_is_not_installed(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "flan.data.beam", raising=False)
    flags = ["--datasets", "rte", "--data_dir", str(data_dir), "--cache_dir", str(tmp_path)]
    assert main(["prepare", *flags, "--beam"]) == 2
    assert "pip install 'flan-jax[beam]'" in capsys.readouterr().err
    with pytest.raises(ImportError, match="needs the package"):
        import flan.data.beam  # noqa: F401
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--datasets", "rte", "--beam", "--workers", "2"], "with --beam its options say how many"),
        (["--datasets", "rte", "--cache_dir", "gs://bucket"], "mount the bucket or share"),
        (["--datasets", "rte", "--vocabulary", "gs://b/v"], "mount the bucket or share"),
        (["--datasets", "rtee"], "unknown dataset or cluster 'rtee'"),
        (["--datasets", "rte", "--splits", "train,valid"], "unknown split 'valid'"),
        (["--datasets", "rte", "--epochs", "0"], "epochs must be 1 or more"),
        (["--datasets", "rte", "--rendering", "five_shot"], "unknown rendering"),
        (["--datasets", "rte", "--template", "t77"], "unknown template of rte 't77'"),
        (["--datasets", "rte", "--vocabulary", "no/such/folder"], "no vocabulary at"),
    ],
)
def test_mistakes(data_dir, vocabulary, tmp_path, capsys, flags, message):
    base = ["prepare", "--data_dir", str(data_dir), "--cache_dir", str(tmp_path)]
    base += ["--vocabulary", str(vocabulary)]
    assert main([*base, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
