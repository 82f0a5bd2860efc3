"""Which template a row gets, and what names a way of phrasing."""

import collections
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.dataset import choice
from flan.catalog.registry import get_dataset
from flan.data.phrasing import NO_TEMPLATE, Phraser, choose_template
from flan.templates.exemplars import ExemplarPool
from flan.templates.template import render

RTE = get_dataset("rte")
FIELDS = choice(("yes", "no"), 1, premise="The dog is in the park.", hypothesis="It sleeps.")


@given(st.integers(1, 20), st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 5))
def test_each_block_of_epochs_meets_each_template_once(count, seed, row_id, block):
    epochs = range(block * count, (block + 1) * count)
    chosen = [choose_template(count, seed, "rte", "rte", row_id, e) for e in epochs]
    assert sorted(chosen) == list(range(count))


def test_templates_are_equally_likely_in_each_epoch():
    for epoch in (0, 3, 9, 10):
        counts = collections.Counter(
            choose_template(10, 0, "rte", "rte", row, epoch) for row in range(20_000)
        )
        # Chi-squared with 9 degrees of freedom: above 27.9 once in a thousand.
        assert sum((counts[t] - 2000) ** 2 / 2000 for t in range(10)) < 27.9


def test_the_choice_depends_on_each_name():
    base = (0, "rte", "rte")
    others = [(1, "rte", "rte"), (0, "mnli", "rte"), (0, "rte", "r1")]

    def choices(names):
        return [choose_template(10, *names, row, 0) for row in range(200)]

    for names in others:
        same = sum(a == b for a, b in zip(choices(base), choices(names), strict=True))
        assert same < 50
    assert choices(base) == choices(base)


def test_the_choice_never_changes():
    # Caches on disk and runs that resume depend on it.
    chosen = [choose_template(10, 0, "rte", "rte", 7, e) for e in range(10)]
    assert chosen == [0, 2, 4, 3, 7, 5, 9, 6, 1, 8]


def test_a_row_is_phrased_through_its_template():
    phraser = Phraser(RTE, seed=3)
    for epoch in range(12):
        index, rendered = phraser.phrase(FIELDS, "rte", 5, epoch)
        assert index == choose_template(10, 3, "rte", "rte", 5, epoch)
        assert rendered == render(phraser.template_set.templates[index], FIELDS)


def test_a_single_template():
    phraser = Phraser(RTE, template="t3")
    assert {phraser.phrase(FIELDS, "rte", row, 0)[0] for row in range(20)} == {3}
    assert not phraser.varies
    with pytest.raises(ValueError, match="unknown template of rte 't33'"):
        Phraser(RTE, template="t33")


def test_evaluation_leaves_inverted_templates_out():
    inverted = [t.id for t in Phraser(RTE).templates if t.kind == "inverted"]
    assert inverted
    used = {t.id for t in Phraser(RTE, forward_only=True).templates}
    assert used.isdisjoint(inverted)
    assert len(used) == 10 - len(inverted)
    with pytest.raises(ValueError, match=r"inverted.*only trains"):
        Phraser(RTE, template=inverted[0], forward_only=True)


def test_renderings_without_templates():
    phraser = Phraser(RTE, "dataset_name")
    index, rendered = phraser.phrase(FIELDS, "rte", 5, 0)
    assert index == NO_TEMPLATE
    assert rendered.input.startswith("[RTE] ")
    assert not phraser.varies
    assert phraser.phrase(FIELDS, "rte", 6, 4)[1] == rendered


def test_few_shot_needs_exemplars_and_varies():
    phraser = Phraser(RTE, "no_template_2shot")
    assert phraser.varies
    with pytest.raises(ValueError, match="needs exemplars"):
        phraser.phrase(FIELDS, "rte", 5, 0)
    rows = [
        choice(("yes", "no"), i % 2, premise=f"Fact {i}.", hypothesis="It sleeps.")
        for i in range(12)
    ]
    phraser.use_exemplars(ExemplarPool(RTE, rows), len, 512)
    first, again, later = (phraser.phrase(FIELDS, "rte", 5, e)[1] for e in (0, 0, 1))
    assert first == again != later
    assert first.input.count("Fact ") == 2
    phraser.use_exemplars(ExemplarPool(RTE, rows), len, 50)
    assert "Fact " not in phraser.phrase(FIELDS, "rte", 5, 0)[1].input


def test_errors_name_the_row():
    phraser = Phraser(RTE)
    wrong = dataclasses.replace(FIELDS, values={"premise": "Only this."})
    with pytest.raises(
        ValueError, match=r"rte, row 5 of rte, template t\d: unknown template field"
    ):
        phraser.phrase(wrong, "rte", 5, 0)


def test_identities_tell_phrasings_apart():
    identities = [
        Phraser(RTE).identity(),
        Phraser(RTE, seed=1).identity(),
        Phraser(RTE, template="t0").identity(),
        Phraser(RTE, "no_options").identity(),
        Phraser(RTE, "no_template").identity(),
        Phraser(RTE, "dataset_name").identity(),
    ]
    assert len({str(i) for i in identities}) == len(identities)
    assert Phraser(RTE).identity() == Phraser(RTE).identity()
    plain = [Phraser(RTE, "no_template", seed=s).identity() for s in (0, 1)]
    assert plain[0] == plain[1]


def test_the_first_templates_alone():
    few = Phraser(RTE, num_templates=4)
    assert few.templates == Phraser(RTE).templates[:4]
    assert few.identity() != Phraser(RTE).identity()
    assert Phraser(RTE, num_templates=10).identity() == Phraser(RTE).identity()
