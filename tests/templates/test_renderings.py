import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.dataset import Dataset, Fields, Source, choice
from flan.templates import Template, Text
from flan.templates.exemplars import ExemplarPool
from flan.templates.load import Baseline, TemplateSet
from flan.templates.renderings import (
    PHRASINGS,
    Rendering,
    parse_rendering,
    render_example,
    render_few_shot,
    without_options,
)

OPTIONS = ("yes", "no")
DATASET = Dataset(
    name="claims",
    cluster="nli",
    title="Claims",
    task_type="classification",
    fields=("text", "claim"),
    options=OPTIONS,
    sources=(Source("claims", "claims", "1.0.0"),),
    metrics=("accuracy",),
    to_fields=lambda row: None,
)
FORWARD = Template(
    "t0", Text.parse("{text}\n\nIs it so that {claim}\n\n{options}"), Text.parse("{answer}")
)
FIRST = Template(
    "t1", Text.parse("Which is right?\n\n{options}\n\n{text}\n{claim}"), Text.parse("{answer}")
)
SET = TemplateSet(
    "claims",
    (FORWARD, FIRST),
    Text.parse("{text}\n{claim}"),
    Baseline(Text.parse("{text} {claim}")),
)


def example(text: str, label: int = 0) -> Fields:
    fields = choice(OPTIONS, label, text=text, claim="it rains.")
    assert fields is not None
    return fields


def test_instructions_are_the_template_itself():
    rendered = render_example(DATASET, SET, FORWARD, example("A cloud.", 1))
    assert rendered.input == "A cloud.\n\nIs it so that it rains.\n\nOPTIONS:\n- yes\n- no"
    assert (rendered.target, rendered.label) == ("no", 1)


def test_no_template_is_the_plain_content_with_the_options_kept_for_scoring():
    rendered = render_example(DATASET, SET, FORWARD, example("A cloud.", 1), "no_template")
    assert rendered.input == "A cloud.\nit rains."
    assert (rendered.target, rendered.options, rendered.label) == ("no", OPTIONS, 1)


def test_dataset_name_precedes_the_plain_content():
    rendered = render_example(DATASET, SET, None, example("A cloud."), "dataset_name")
    assert rendered.input == "[Claims] A cloud.\nit rains."


def test_no_options_at_the_end_takes_the_blank_line_along():
    rendered = render_example(DATASET, SET, FORWARD, example("A cloud."), "no_options")
    assert rendered.input == "A cloud.\n\nIs it so that it rains."
    assert rendered.options == OPTIONS


def test_no_options_in_the_middle_leaves_one_break():
    rendered = render_example(DATASET, SET, FIRST, example("A cloud."), "no_options")
    assert rendered.input == "Which is right?\n\nA cloud.\nit rains."


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{options}\n\n{text}", "{text}"),
        ("{text}\n{options}", "{text}"),
        ("{text}\n{options}\n\nYour answer:", "{text}\n\nYour answer:"),
        ("{text}\n\n{options}\nYour answer:", "{text}\n\nYour answer:"),
        ("{text}", "{text}"),
    ],
)
def test_without_options(source, expected):
    assert without_options(Text.parse(source)).source == expected


def test_few_shot_puts_solved_examples_first():
    rendered = render_example(
        DATASET, SET, FORWARD, example("Sun.", 1), "no_options_2shot", [example("A cloud.")]
    )
    assert rendered.input == (
        "A cloud.\n\nIs it so that it rains.\n\nyes\n\n\nSun.\n\nIs it so that it rains."
    )
    assert rendered.target == "no"


def test_exemplars_must_fit_the_rendering():
    with pytest.raises(ValueError, match="1 exemplars for rendering 'instructions'"):
        render_example(DATASET, SET, FORWARD, example("Sun."), "instructions", [example("A")])


def test_a_template_is_needed_where_one_is_used():
    with pytest.raises(ValueError, match="needs a template"):
        render_example(DATASET, SET, None, example("Sun."), "no_options")


@given(st.sampled_from(PHRASINGS), st.booleans(), st.integers(0, 64))
def test_names_read_back(phrasing, options, shots):
    rendering = Rendering(phrasing, options, shots)
    assert parse_rendering(rendering.name) == rendering
    assert parse_rendering(rendering) is rendering


def test_names_in_any_order():
    assert parse_rendering("3shot_no_options") == Rendering(options=False, shots=3)
    assert Rendering().suffix == ""
    assert Rendering("dataset_name", True, 2).suffix == "_dataset_name_2shot"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_optoins", "Did you mean 'no_options'"),
        ("shot", "unknown rendering"),
        ("no_options5shot", "unknown rendering"),
        ("0shot", "give 1 to 64"),
        ("65shot", "give 1 to 64"),
        ("2shot_3shot", "after another such part"),
        ("no_options_no_options", "after another such part"),
        ("no_template_dataset_name", "after another such part"),
        ("", "is empty"),
    ],
)
def test_bad_names_say_what_is_wrong(name, message):
    with pytest.raises(ValueError, match=message):
        parse_rendering(name)


def count_words(text: str) -> int:
    return len(text.split())


@given(st.integers(0, 120), st.integers(0, 200))
def test_few_shot_inputs_keep_to_the_budget_and_end_with_the_query(budget, row):
    pool = ExemplarPool(DATASET, [example(f"word {'x ' * n}", n % 2) for n in range(30)])
    query = example("the query", 1)
    plain = render_example(DATASET, SET, FORWARD, query)
    rendered = render_few_shot(
        DATASET, SET, FORWARD, query, "5shot", pool, row, count_words, budget
    )
    assert rendered.input.endswith(plain.input)
    assert count_words(rendered.input) <= max(budget, count_words(plain.input))
    assert rendered.target == plain.target
