"""seqio tasks that rank: an example for each option, and the dataset's metrics of the best."""

from __future__ import annotations

import json

import numpy as np
import pytest
import seqio

from flan.catalog.registry import get_dataset
from flan.data import seqio_tasks
from flan.data.seqio_ranking import metric_function
from flan.data.vocabulary import load_vocabulary, train_sentencepiece
from flan.evaluation.scores import TIE_TOLERANCE


@pytest.fixture
def vocabulary(small_demo, tmp_path, monkeypatch):
    text = ["The dog is in the park. Does it follow? OPTIONS:\n- yes\n- no\n"] * 20
    train_sentencepiece(text, tmp_path / "v", 320, shrink=True)
    monkeypatch.setattr(seqio_tasks, "_settings", seqio_tasks.Settings())
    seqio_tasks.configure(data_dir=str(small_demo), vocabulary_dir=str(tmp_path / "v"))
    yield load_vocabulary(tmp_path / "v")
    seqio_tasks.configure()


def test_each_row_comes_once_for_each_of_its_options(vocabulary):
    lengths = {"inputs": 200, "targets": 8}
    task = seqio.get_mixture_or_task("flan_rte_t0_rank")
    assert set(task.splits) == {"validation", "test"}
    found = list(task.get_dataset(lengths, "validation", shuffle=False).as_numpy_iterator())
    rows = list(
        seqio.get_mixture_or_task("flan_rte_t0")
        .get_dataset(lengths, "validation", shuffle=False)
        .as_numpy_iterator()
    )
    at = 0
    for row in rows:
        options = json.loads(row["answers"])["options"]
        for place, option in enumerate(options):
            example = found[at]
            assert example["option"] == place
            np.testing.assert_array_equal(example["inputs"], row["inputs"])
            expected = [*vocabulary.encode(option)[:7], vocabulary.eos_id]
            assert example["targets"].tolist() == expected
            at += 1
    assert at == len(found) > len(rows)


def test_the_choice_is_the_first_of_the_highest(vocabulary):
    task = seqio.get_mixture_or_task("flan_rte_t0_rank")
    examples = list(task.get_dataset({"inputs": 200, "targets": 8}, "validation", shuffle=False))
    targets = [task.postprocess_fn("", example=e, is_target=True) for e in examples]
    labels = [json.loads(e["answers"].numpy())["label"] for e in examples]
    right = [float(e["option"].numpy() == label) for e, label in zip(examples, labels, strict=True)]
    (metric,) = task.score_metric_fns
    assert metric(targets, right)["accuracy"] == 100
    assert metric(targets, [-r for r in right])["accuracy"] == 0
    nearly = [TIE_TOLERANCE * r / 2 for r in right]
    firsts = 100 * np.mean([label == 0 for label in labels[::2]])
    assert metric(targets, nearly)["accuracy"] == pytest.approx(firsts)
    with pytest.raises(ValueError, match="scored; it generates nothing"):
        task.postprocess_fn("yes", example=examples[0])


def test_only_tasks_with_options_can_rank(vocabulary):
    for name in ("flan_e2e_nlg_rank", "flan_all_rank", "flan_loo_nli_rank", "flan_rte_t99_rank"):
        assert name not in seqio.TaskRegistry._REGISTRY
        assert name not in seqio.MixtureRegistry._REGISTRY
    assert "flan_rte_rank" in seqio.TaskRegistry._REGISTRY
    assert metric_function(get_dataset("rte")).__name__ == "rank_classification"
