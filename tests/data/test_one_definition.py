"""One definition, two drivers: the cache and seqio make the same examples of every dataset."""

from __future__ import annotations

import pytest
import seqio

from flan.catalog.clusters import CLUSTERS
from flan.data import seqio_tasks
from flan.data.cache_plan import Request
from flan.data.demo import write_demo
from flan.data.prepare import prepare
from flan.data.vocabulary import train_sentencepiece

LENGTHS = {"inputs": 200, "targets": 40}  # some are longer, and cut


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_dataset_has_the_same_examples_in_the_cache_and_from_seqio(cluster, tmp_path):
    write_demo(tmp_path / "data", CLUSTERS[cluster], train_rows=12, eval_rows=2)
    vocabulary = tmp_path / "vocabulary"
    text = "The dog is in the park. OPTIONS:\n- yes\n- no\n"
    train_sentencepiece([text] * 20, vocabulary, 320, shrink=True)
    request = Request(
        CLUSTERS[cluster],
        tmp_path / "caches",
        tmp_path / "data",
        splits=("train",),
        vocabulary=vocabulary,
        input_length=LENGTHS["inputs"],
        target_length=LENGTHS["targets"],
        seed=3,
    )
    cached = prepare(request, workers=1).open_tokens()
    seqio_tasks.install()
    seqio_tasks.configure(
        data_dir=str(tmp_path / "data"), vocabulary_dir=str(vocabulary), seed=3, cap=30_000
    )
    for name in CLUSTERS[cluster]:
        ours = [
            (source, int(c.row_ids[i]), int(c.template_ids[i]), *(a.tolist() for a in c.example(i)))
            for source, c in enumerate(cached[name])
            for i in range(len(c))
        ]
        dataset = seqio.get_mixture_or_task(f"flan_{name}").get_dataset(
            sequence_length=LENGTHS, split="train", shuffle=False
        )
        theirs = [
            (e["source"], e["row_id"], e["template"], e["inputs"].tolist(), e["targets"].tolist())
            for e in dataset.as_numpy_iterator()
        ]
        assert len(ours) >= 8, name
        assert theirs == ours, name
