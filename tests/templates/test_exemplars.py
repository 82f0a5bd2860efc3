from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.dataset import Dataset, Fields, Source, choice, free_form
from flan.templates import Template, Text
from flan.templates.exemplars import ExemplarPool, content_key
from flan.templates.renderings import with_exemplars


def dataset(*options: str) -> Dataset:
    return Dataset(
        name="toy",
        cluster="misc",
        title="Toy",
        task_type="classification" if options else "generation",
        fields=("text",),
        options=options,
        sources=(Source("toy", "toy", "1.0.0"),),
        metrics=("accuracy",),
        to_fields=lambda row: None,
    )


def labelled(text: str, label: int) -> Fields:
    fields = choice(("a", "b", "c"), label, text=text)
    assert fields is not None
    return fields


CLASSES = dataset("a", "b", "c")
# Nine of ten rows are of class 0.
SKEWED = [labelled(f"text {n}", 0 if n % 10 else 1 + (n // 10) % 2) for n in range(100)]


def test_the_same_draw_whatever_came_before():
    draws = ExemplarPool(CLASSES, SKEWED).draw(SKEWED[3], 3, 5)
    other = ExemplarPool(CLASSES, SKEWED)
    other.draw(SKEWED[1], 1, 5)
    assert other.draw(SKEWED[3], 3, 5) == draws
    # Fixed by value: another Python or another machine draws the same.
    assert [f.values["text"] for f in draws] == [
        "text 20",
        "text 90",
        "text 30",
        "text 0",
        "text 28",
    ]


def test_seed_dataset_and_row_each_change_the_draw():
    pool = ExemplarPool(CLASSES, SKEWED)
    draw = pool.draw(SKEWED[3], 3, 5)
    assert pool.draw(SKEWED[3], 4, 5) != draw
    assert ExemplarPool(CLASSES, SKEWED, seed=1).draw(SKEWED[3], 3, 5) != draw


def test_order_does_not_tell_the_class():
    pool = ExemplarPool(CLASSES, SKEWED)
    orders = {tuple(f.label for f in pool.draw(SKEWED[3], row, 6)) for row in range(50)}
    assert len(orders) > 10


@given(st.integers(0, 99), st.integers(1, 12))
def test_classes_are_balanced(row, count):
    drawn = ExemplarPool(CLASSES, SKEWED).draw(SKEWED[row], row, count)
    per_class = Counter(f.label for f in drawn)
    assert len(drawn) == count
    assert max(per_class.values()) - min(per_class[c] for c in range(3)) <= 1


def test_a_small_class_is_topped_up_from_others():
    rows = [labelled("only", 1), *(labelled(f"text {n}", 0) for n in range(10))]
    drawn = ExemplarPool(CLASSES, rows).draw(labelled("query", 0), 0, 6)
    assert Counter(f.label for f in drawn) == {0: 5, 1: 1}


def test_never_the_query_by_content():
    rows = [labelled("The  same TEXT", n % 3) for n in range(20)] + [labelled("another", 1)]
    drawn = ExemplarPool(CLASSES, rows).draw(labelled("the same text", 2), "x", 5)
    assert [f.values["text"] for f in drawn] == ["another"]


def test_never_twice_the_same_content():
    rows = [labelled("twin", 0)] * 30 + [labelled("other", 0)]
    drawn = ExemplarPool(CLASSES, rows).draw(labelled("query", 0), 0, 5)
    assert {f.values["text"] for f in drawn} <= {"twin", "other"}
    assert len(drawn) == len({content_key(f) for f in drawn})


@given(st.integers(0, 300), st.integers(0, 50))
def test_the_budget_holds_and_long_rows_are_passed_over(budget, row):
    rows = [free_form("answer", text="x" * (1 + 7 * (n % 13))) for n in range(60)]
    pool = ExemplarPool(dataset(), [f for f in rows if f])
    drawn = pool.draw(labelled("query", 0), row, 8, lambda f: len(f.values["text"]), budget)
    assert sum(len(f.values["text"]) for f in drawn) <= budget
    if budget >= 300:
        assert drawn


def test_balance_survives_one_class_of_long_rows():
    rows = [
        labelled(f"{n} " + "x" * (300 if n % 2 and n % 4 == 1 else 1), n % 2) for n in range(60)
    ]
    drawn = ExemplarPool(CLASSES, rows).draw(
        labelled("query", 0), 5, 8, lambda f: len(f.values["text"]), 100
    )
    assert Counter(f.label for f in drawn) == {0: 4, 1: 4}


def test_an_empty_pool_says_what_to_do():
    with pytest.raises(ValueError, match="prepare the dataset's train split"):
        ExemplarPool(CLASSES, [])


def test_the_whole_prompt_fits_where_it_has_more_tokens_than_its_parts():
    template = Template("t0", Text.parse("{text}"), Text.parse("{answer}"))
    rows = [labelled(f"text number {n}", n % 3) for n in range(20)]
    pool, query = ExemplarPool(CLASSES, rows), labelled("the query", 0)

    def count(text):  # three line ends before a letter are a token more, as in byte-level BPEs
        return len(text.split()) + text.count("\n\n\nt")

    free = with_exemplars(template, query, 8, pool, 0, count, 10_000)
    assert count(free.input) > 8 * 4 + 2
    for budget in range(2, count(free.input) + 1):
        rendered = with_exemplars(template, query, 8, pool, 0, count, budget)
        assert rendered.input.endswith("the query")
        assert count(rendered.input) <= budget
