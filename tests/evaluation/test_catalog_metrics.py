"""Every dataset's metrics exist, fit its task, and tell right answers from wrong ones."""

import pytest

from flan.catalog.clusters import EXTRA, all_datasets
from flan.catalog.registry import get_dataset
from flan.data.example_rows import demo_examples
from flan.evaluation.generation_cells import text_metrics
from flan.evaluation.metrics import get_metric
from flan.evaluation.rank_cells import rank_metrics


@pytest.mark.parametrize("name", [*all_datasets(), *EXTRA])
def test_right_answers_score_100_and_wrong_ones_less(name):
    dataset = get_dataset(name)
    examples = [e.fields for e in demo_examples(dataset, 12) if e.fields is not None]
    main = get_metric(dataset.metrics[0]).main
    if dataset.task_type == "generation":
        right = text_metrics(dataset.metrics, examples, [f.references[0] for f in examples])
        wrong = text_metrics(dataset.metrics, examples, ["utterly wrong words"] * len(examples))
    else:
        labels = [f.label for f in examples]
        others = [(f.label + 1) % len(f.options) for f in examples]
        right = rank_metrics(dataset.metrics, examples, labels)
        wrong = rank_metrics(dataset.metrics, examples, others)
    # An STS-B option is the nearest whole number to its gold value.
    assert right[main] > (95 if main == "pearson" else 99.99)
    assert wrong[main] < 50
