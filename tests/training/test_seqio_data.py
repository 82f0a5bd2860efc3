"""Settings of streams: what is refused before anything is started, and how one is chosen."""

from __future__ import annotations

import pytest
import sentencepiece

from flan.data import seqio_process
from flan.training.data import InstructionData
from flan.training.seqio_data import SeqioData, choose_data


class Started(Exception):
    """A process would have been started."""


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    def start():
        raise Started

    monkeypatch.setattr(seqio_process, "start", start)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mixture": "my_sums"}, "--gin.SEQIO_MODULES=my_tasks"),
        ({"mixture": "flan_rte_t77"}, "unknown template of rte 't77'"),
        ({"mixture": "rte", "feature_lengths": {"inputs": 9}}, "must give 'inputs' and 'targets'"),
        ({"mixture": "rte", "feature_lengths": {"targets": 9}}, "must give 'inputs' and 'targets'"),
        ({"mixture": "rte", "feature_lengths": {"inputs": 1, "targets": 9}}, "2 or more of each"),
        ({"mixture": "rte", "on_missing": "warn"}, "'error' or 'skip', got 'warn'"),
    ],
)
def test_impossible_settings(settings, told):
    with pytest.raises(ValueError, match=told):
        SeqioData(**settings)


def test_modules_by_name_or_list():
    for modules in ("a, b", ["a", "b"], ("a", "b")):
        assert SeqioData(mixture="whatever", modules=modules).module_names == ("a", "b")
    assert SeqioData(mixture="rte").module_names == ()


@pytest.fixture(scope="module")
def losing_line_ends(tmp_path_factory):
    """A vocabulary that reads line ends as spaces, as SentencePiece's do by default."""
    path = tmp_path_factory.mktemp("vocabulary") / "usual.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the dog is in the park, yes or no"] * 20),
            model_writer=file,
            vocab_size=300,
            hard_vocab_limit=False,
            byte_fallback=True,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    return path


def test_our_tasks_refuse_a_vocabulary_that_loses_line_ends(losing_line_ends, tmp_path):
    data = SeqioData(mixture="rte", data_dir=str(tmp_path))
    assert data.vocabulary(str(losing_line_ends)) == losing_line_ends
    with pytest.raises(FileNotFoundError, match="no vocabulary at"):
        data.vocabulary(str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"usual.model: .*it loses line ends"):
        data.open(losing_line_ends, 8, 10, 0, 0, 1)


def test_tasks_of_others_are_told_of_it(losing_line_ends, caplog):
    data = SeqioData(mixture="none_of_ours", modules="users_tasks")
    with pytest.raises(Started):
        data.open(losing_line_ends, 8, 10, 0, 0, 1)
    assert "it loses line ends" in caplog.text


def test_dev_rows_are_those_of_our_datasets(losing_line_ends, small_demo, tmp_path):
    places = {"data_dir": str(small_demo), "cache_dir": str(tmp_path)}
    lengths = {"inputs": 96, "targets": 16}
    settings = {"mixture": "rte,sst2", "feature_lengths": lengths, **places}
    found, expected = (
        data(**settings).open_dev(losing_line_ends, 4, 0) for data in (SeqioData, InstructionData)
    )
    assert len(found.rows) == 8
    assert [t.tolist() for t in found.tokens] == [t.tolist() for t in expected.tokens]
    others = SeqioData(mixture="none_of_ours", modules="users_tasks", **places)
    assert others.open_dev(losing_line_ends, 4, 0) is None


def test_a_source_is_chosen_by_name():
    def cache():
        return InstructionData(mixture="rte")

    def seqio():
        return SeqioData(mixture="rte")

    assert isinstance(choose_data("cache", cache, seqio), InstructionData)
    assert isinstance(choose_data("seqio", cache, seqio), SeqioData)
    # What is not chosen is not looked at: a name may be seqio's alone.
    assert choose_data("seqio", lambda: SeqioData(mixture="none_of_ours"), seqio)
    with pytest.raises(ValueError, match=r"unknown DATA 'caches'\. Did you mean 'cache'"):
        choose_data("caches", cache, seqio)
