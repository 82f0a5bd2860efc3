"""Each metric against values worked out by hand and against the libraries of the field."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan.evaluation import metrics
from flan.evaluation.metrics import METRICS, get_metric, label_index
from flan.evaluation.text_normalization import squad_normalize, token_f1


def score(name, targets, predictions):
    entry = get_metric(name)
    return entry.function(targets, predictions)[entry.main]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Eiffel Tower.", "eiffel tower"),
        ("  a  man,\nan apple and the_cat ", "man apple and thecat"),
        ("A.I.", "ai"),
        ("the", ""),
        ("another theory", "another theory"),
    ],
)
def test_squad_normal_form(text, normal):
    assert squad_normalize(text) == normal


def test_token_f1_by_hand():
    # predicted {big, red, dog}, gold {red, dog, ran, off}: 2 shared, 2*2/(3+4)
    assert token_f1("the big red dog", "Red dog ran off") == pytest.approx(4 / 7)
    # a repeated word counts as often as both have it: 2*1/(2+1)
    assert token_f1("dog dog", "dog") == pytest.approx(2 / 3)
    assert token_f1("the", "a") == 1.0
    assert token_f1("the", "cat") == 0.0


def test_every_metric_can_hang_on_a_seqio_task():
    for entry in METRICS.values():
        assert tuple(inspect.signature(entry.function).parameters) == ("targets", "predictions")


def test_the_registry_holds_what_the_protocol_needs():
    assert set(METRICS) == {
        *("accuracy", "exact_match", "f1", "binary_f1", "macro_f1", "matthews"),
        *("drop", "drop_exact_match"),
        *("pearson", "spearman", "bleu", "rouge"),
    }
    with pytest.raises(ValueError, match="Did you mean 'rouge'"):
        get_metric("rogue")


def test_accuracy():
    assert score("accuracy", ["yes", "no", "no", "yes"], ["yes", " no\n", "yes", "Yes"]) == 50.0
    assert score("accuracy", [("a", "b"), ("c",)], ["b", "b"]) == 50.0
    assert score("accuracy", ["-5", "5"], ["5", "5"]) == 50.0
    assert score("accuracy", [0, 1, 1], [0, 1, 0]) == pytest.approx(200 / 3)


def test_exact_match_takes_any_reference():
    targets = [("Barack Obama", "Obama"), ("1969",), ("the sea",)]
    assert score("exact_match", targets, ["obama.", "in 1969", "Sea"]) == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("reference", "prediction", "exact", "f1"),
    [
        ("1.5", "15", 0, 0),
        ("1.50", "1.5", 100, 100),
        ("14 points", "10 points", 0, 0),
        ("14 points", "14", 0, 67),
        ("12%", "12", 100, 100),
        ("the Bears", "bears", 100, 100),
        ("10-yard line", "line 10 yard", 0, 100),
        ("Bears", "", 0, 0),
    ],
)
def test_drop_counts_numbers_as_its_script_does(reference, prediction, exact, f1):
    assert score("drop_exact_match", [reference], [prediction]) == exact
    assert score("drop", [reference], [prediction]) == pytest.approx(f1)


def test_f1_takes_the_best_reference():
    targets = [("a cold winter day", "snow"), ("Paris",)]
    # max(2*2/(2+3), 0) and 2*1/(2+1)
    expected = 100 * (4 / 5 + 2 / 3) / 2
    assert score("f1", targets, ["winter day", "Paris France"]) == pytest.approx(expected)


def test_binary_f1_by_hand():
    # tp 2, fp 1, fn 1: precision = recall = 2/3
    assert score("binary_f1", [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]) == pytest.approx(200 / 3)
    assert score("binary_f1", [0, 0], [0, 0]) == 0.0
    with pytest.raises(ValueError, match="label indices"):
        score("binary_f1", ["yes"], ["no"])


def test_macro_f1_by_hand():
    # label 0: 2*1/(2+1); label 1: 2*1/(1+2); label 2 is predicted never and occurs once: 0
    value = score("macro_f1", [0, 0, 1, 2], [0, 1, 1, -1])
    # -1 (no option named) is a label of its own with F1 0, as in scikit-learn
    assert value == pytest.approx(100 * (2 / 3 + 2 / 3 + 0 + 0) / 4)


def test_matthews_by_hand():
    # tp 2, tn 1, fp 1, fn 1
    value = score("matthews", [1, 1, 1, 0, 0], [1, 1, 0, 1, 0])
    assert value == pytest.approx(100 * (2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2))
    assert score("matthews", [1, 0], [1, 1]) == 0.0
    assert score("matthews", [1, 0, 1, 0], [0, 1, 0, 1]) == pytest.approx(-100)


@settings(deadline=None)
@pytest.mark.filterwarnings("ignore:A single label was found")
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=2, max_size=40))
def test_label_metrics_agree_with_scikit_learn(pairs):
    reference = pytest.importorskip("sklearn.metrics")
    gold, predicted = (list(x) for x in zip(*pairs, strict=True))
    assert score("matthews", gold, predicted) == pytest.approx(
        100 * reference.matthews_corrcoef(gold, predicted)
    )
    assert score("macro_f1", gold, predicted) == pytest.approx(
        100 * reference.f1_score(gold, predicted, average="macro", zero_division=0)
    )
    ones, marked = [int(g == 1) for g in gold], [int(p == 1) for p in predicted]
    assert score("binary_f1", ones, marked) == pytest.approx(
        100 * reference.f1_score(ones, marked, zero_division=0)
    )


def test_correlations_by_hand():
    gold, predicted = ["1", "2", "3", "4"], ["2.0", "4", "5", "4"]
    # centred gold (-1.5, -.5, .5, 1.5), predicted (-1.75, .25, 1.25, .25): 3.5 / sqrt(5 * 4.75)
    assert score("pearson", gold, predicted) == pytest.approx(350 / math.sqrt(5 * 4.75))
    # ranks (1, 2, 3, 4) and (1, 2.5, 4, 2.5): 3 / sqrt(5 * 4.5)
    assert score("spearman", gold, predicted) == pytest.approx(300 / math.sqrt(5 * 4.5))


def test_correlations_never_give_nan():
    assert score("pearson", [1.0, 2.0], [3.0, 3.0]) == 0.0
    assert score("spearman", [1.0, 1.0], [3.0, 4.0]) == 0.0
    assert score("pearson", [0.0, 5.0, 5.0], ["none", "5", "nan"]) == pytest.approx(
        100 * np.corrcoef([0, 5, 5], [0, 5, 0])[0, 1]
    )


def test_bleu_by_hand():
    # 6 of 6 unigrams, 4/5 bigrams, 2/4 trigrams, 0/3 4-grams smoothed to 1/(2*3); no penalty
    prediction, target = "the cat sat on mat quietly", "the cat sat on the mat quietly"
    expected = 100 * math.exp(1 - 7 / 6) * (1 * 4 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert score("bleu", [target], [prediction]) == pytest.approx(expected)
    assert score("bleu", [target], [target]) == pytest.approx(100)


def test_bleu_with_uneven_references_is_sacrebleu_s():
    sacrebleu = pytest.importorskip("sacrebleu")
    targets = [("a dog ran home", "the dog ran back home"), ("it rains in the north today",)]
    predictions = ["the dog ran home", "it rains in north today"]
    # repeating a reference changes neither clipped counts nor the closest length
    streams = [[t[0] for t in targets], ["the dog ran back home", targets[1][0]]]
    expected = sacrebleu.corpus_bleu(predictions, streams).score
    assert score("bleu", targets, predictions) == pytest.approx(expected)
    assert score("bleu", targets, predictions) > score("bleu", [t[0] for t in targets], predictions)


def test_rouge_by_hand():
    values = get_metric("rouge").function(["the cat sat on a mat"], ["the cat on the mat"])
    # 4 shared words (the, cat, on, mat): 2*4/(5+6); bigrams: "the cat" only: 2*1/(4+5)
    assert values["rouge1"] == pytest.approx(100 * 8 / 11)
    assert values["rouge2"] == pytest.approx(100 * 2 / 9)
    assert values["rougeL"] == pytest.approx(100 * 8 / 11)
    assert get_metric("rouge").main == "rougeL"


def test_rouge_takes_the_best_reference_and_the_mean():
    values = get_metric("rouge").function(
        [("nothing alike", "rain fell"), ("snow",)], ["rain falls", "sun"]
    )
    assert values["rougeL"] == pytest.approx(100 * (0.5 + 0) / 2)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_lengths_must_agree(name):
    for targets, predictions in ([], []), (["1"], ["1", "2"]):
        with pytest.raises(ValueError, match="as many predictions as targets"):
            METRICS[name].function(targets, predictions)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_perfect_prediction_scores_100_and_order_is_free(name):
    values = {
        "text": ["one two three four five", "six seven eight nine ten", "yes it is so now"],
        "label": [0, 1, 1],
        "number": [0.5, 1.0, 4.0],
    }[METRICS[name].takes]
    assert score(name, values, values) == pytest.approx(100)
    other = values[1:] + values[:1]
    assert score(name, values, other) == pytest.approx(score(name, values[::-1], other[::-1]))


def test_an_empty_reference_list_is_refused():
    with pytest.raises(ValueError, match="no reference"):
        metrics.METRICS["f1"].function([()], ["x"])


def test_label_index():
    assert label_index(("Yes", "No"), " no\n") == 1
    assert label_index(("Yes", "No"), "maybe") == -1
