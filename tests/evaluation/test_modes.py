"""Modes by name, and the texts that they make of an example."""

import pytest

from flan.catalog.dataset import choice
from flan.catalog.registry import get_dataset
from flan.data.example_rows import demo_examples
from flan.data.phrasing import Phraser
from flan.evaluation.modes import (
    BASELINE_ID,
    PLAIN_ID,
    Exemplars,
    parse_mode,
    render_rows,
    templates_for,
)
from flan.evaluation.rows import Rows
from flan.templates import load_templates
from flan.templates.exemplars import ExemplarPool
from flan.templates.template import Template, Text

RTE = get_dataset("rte")


@pytest.fixture(scope="module")
def rows():
    examples = [e.fields for e in demo_examples(RTE, 12) if e.fields is not None]
    return Rows(tuple(range(len(examples))), tuple(examples))


def words(text):
    return len(text.split())


@pytest.mark.parametrize(
    "name",
    ["instructions", "baseline", "baseline_3shot", "no_options_5shot", "dataset_name", "2shot"],
)
def test_a_mode_s_name_reads_back(name):
    assert parse_mode(name).name == name
    assert parse_mode(parse_mode(name)) == parse_mode(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("base_line", "Did you mean 'baseline'"),
        ("no_option", "Did you mean 'no_options'"),
        ("text", "for pretraining"),
        ("baseline_no_options", "a number of shots only"),
        ("65shot", "give 1 to 64"),
        ("", "empty"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse_mode(name)


def test_modes_have_their_templates():
    known = load_templates("rte")
    assert templates_for(RTE, known, parse_mode("instructions")) == known.forward
    assert templates_for(RTE, known, parse_mode("4shot")) == known.forward
    bare = templates_for(RTE, known, parse_mode("no_options"))
    assert [t.id for t in bare] == [t.id for t in known.forward]
    assert all("options" not in t.input.pieces[1::2] for t in bare)
    for name, template_id in (("baseline", BASELINE_ID), ("no_template", PLAIN_ID)):
        (only,) = templates_for(RTE, known, parse_mode(name))
        assert only.id == template_id
    (named,) = templates_for(RTE, known, parse_mode("dataset_name"))
    assert named.input.source.startswith(f"[{RTE.title}]")


def test_inverted_templates_are_refused():
    inverted = Template("t9", Text.parse("{answer}?"), Text.parse("{text}"), kind="inverted")
    example = choice(("yes", "no"), 0, text="a")
    with pytest.raises(ValueError, match="inverted"):
        render_rows(inverted, Rows((0,), (example,)), parse_mode("instructions"), "rte")


def test_few_shot_prompts_are_those_of_training(rows):
    """A row's exemplars are the ones that its first epoch of training data has."""
    mode = parse_mode("2shot")
    pool = ExemplarPool(RTE, rows.examples, seed=3)
    (template, *_) = templates_for(RTE, load_templates("rte"), mode)
    found = render_rows(template, rows, mode, "rte", Exemplars(pool, words, 400))
    phraser = Phraser(RTE, "2shot", seed=3, template=template.id)
    phraser.use_exemplars(pool, words, 401)
    expected = [
        phraser.phrase(f, "rte", i, 0)[1] for i, f in zip(rows.ids, rows.examples, strict=True)
    ]
    assert [r.input for r in found] == [r.input for r in expected]
    assert all(r.input.count("OPTIONS:") == 3 for r in found)


def test_baseline_exemplars_are_answered_as_the_query_is_to_be(rows):
    mode = parse_mode("baseline_2shot")
    (template,) = templates_for(RTE, load_templates("rte"), mode)
    exemplars = Exemplars(ExemplarPool(RTE, rows.examples), words)
    for rendered in render_rows(template, rows, mode, "rte", exemplars):
        *solved, query = rendered.input.split("\n\n")
        assert len(solved) == 2
        assert {s.rsplit("Answer: ", 1)[1] for s in solved} <= set(rendered.options)
        assert query.endswith("Answer:")
        assert query not in rendered.input[: -len(query)]


def test_a_budget_leaves_exemplars_out(rows):
    mode = parse_mode("2shot")
    (template, *_) = templates_for(RTE, load_templates("rte"), mode)
    tight = Exemplars(ExemplarPool(RTE, rows.examples), words, budget=5)
    plain = render_rows(template, rows, parse_mode("instructions"), "rte")
    assert render_rows(template, rows, mode, "rte", tight) == plain
