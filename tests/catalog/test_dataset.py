import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.dataset import Dataset, Fields, Source, any_blank, choice, free_form

texts = st.text(max_size=8)


def make(**changes):
    entry = {
        "name": "toy",
        "cluster": "misc",
        "title": "Toy",
        "task_type": "generation",
        "fields": ("text",),
        "sources": (Source("toy", "toy", "1.0.0"),),
        "metrics": ("accuracy",),
        "to_fields": lambda row: None,
    }
    return Dataset(**{**entry, **changes})


@given(st.lists(texts, min_size=1, max_size=4), st.data(), texts)
def test_choice(options, data, text):
    label = data.draw(st.integers(-1, len(options) - 1))
    fields = choice(options, label, text=text)
    if label == -1 or any_blank((*options, text)):
        assert fields is None
    else:
        assert (fields.answer, fields.label) == (options[label], label)
        assert fields.references == (options[label],)
        assert fields.values == {"text": text}


@given(st.lists(texts, max_size=4), texts)
def test_free_form(references, text):
    fields = free_form(references, text=text)
    kept = [t for t in references if not any_blank([t])]
    if not kept or any_blank([text]):
        assert fields is None
    else:
        assert fields.answer == fields.references[0] == kept[0]
        assert sorted(fields.references) == sorted(set(kept))
        assert fields.options == ()


@pytest.mark.parametrize(
    "unseen", ["", " \n", "\u200b", "\ufeff\u00ad", "\0", "\u2060\u200e", "\ufffd"]
)
def test_texts_that_show_nothing_are_blank(unseen):
    assert choice(("a", unseen), 0, text="b") is None
    assert free_form(unseen, text="b") is None
    assert free_form((unseen, "a"), text="b").references == ("a",)
    assert free_form("a", text=unseen) is None
    assert not any_blank([f"{unseen}a", "."])


def test_a_label_that_no_option_has():
    with pytest.raises(ValueError, match=r"label 2 is outside the 2 options \['a', 'b'\]"):
        choice(("a", "b"), 2)


@pytest.mark.parametrize(
    ("label", "answer", "message"),
    [(None, "a", "label None is outside"), (5, "a", "label 5"), (1, "a", "is not option 1")],
)
def test_fields_that_contradict_themselves(label, answer, message):
    with pytest.raises(ValueError, match=message):
        Fields({}, answer, ("a", "b"), label)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_type": "regression"}, "is not one of"),
        ({"options": ("a", "b")}, "`options` belong to classification"),
        ({"task_type": "classification"}, "`options` belong to classification"),
        ({"sources": ()}, "one or more sources"),
        ({"sources": (Source("a", "x", "1.0.0"), Source("a", "y", "1.0.0"))}, "distinct names"),
        ({"metrics": ()}, "at least one metric"),
    ],
)
def test_datasets_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_sources_by_name():
    assert make().source("toy").tfds_name == "toy:1.0.0"
    with pytest.raises(ValueError, match=r"no source 'r9'; it has \['toy'\]"):
        make().source("r9")
