"""Task names: what each means, and what is said of a wrong one."""

from __future__ import annotations

import pytest

from flan.catalog import clusters
from flan.data.names import known_names, parse_task_name


def test_a_dataset_a_template_and_a_rendering():
    assert parse_task_name("flan_rte").datasets == ("rte",)
    one = parse_task_name("flan_rte_t3_no_options_5shot")
    assert (one.datasets, one.template) == (("rte",), "t3")
    assert one.rendering.name == "no_options_5shot"
    assert parse_task_name("flan_story_cloze_no_template").rendering.phrasing == "no_template"


def test_mixtures_apply_the_overlap_rules():
    assert len(parse_task_name("flan_all").datasets) == 62
    held = parse_task_name("flan_loo_nli")
    assert held.held_out == ("nli",)
    assert set(held.datasets).isdisjoint({"rte", "mrpc"})
    longer = parse_task_name("flan_loo_reading_comprehension_commonsense")
    assert longer.held_out == ("reading_comprehension_commonsense",)
    assert set(longer.datasets).isdisjoint({"squad", "copa", "record"})


def test_names_are_joined_with_commas_and_mixed_with_clusters():
    joined = parse_task_name("flan_rte, sentiment,rte")
    assert joined.datasets == ("rte", *clusters.CLUSTERS["sentiment"])
    with pytest.raises(ValueError, match="one rendering"):
        parse_task_name("flan_rte_t3,flan_cb")


@pytest.mark.parametrize("name", known_names())
def test_every_known_name_parses(name):
    assert parse_task_name(name).datasets


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flan_rtee", "unknown task or mixture 'flan_rtee'. Did you mean 'flan_rte'"),
        ("flan_loo_nil", "flan_loo_nli"),
        ("flan_rte_no_optoins", "unknown rendering"),
        ("rtee", "unknown dataset or cluster"),
        (" ", "names no task"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(name, message):
    with pytest.raises(ValueError, match=message):
        parse_task_name(name)
