import random

import pytest

from flan.catalog.clusters import cluster_datasets
from flan.catalog.registry import get_dataset
from flan.catalog.translation import PAIRS, to_fields_of
from flan.data.demo_rows import generator
from flan.data.demo_rows.translation import ENGLISH, WORDS, dictionary, translate
from flan.data.demo_rows.world import ACTIONS, ANIMALS, COLOURS, PLACES
from flan.templates.load import load_templates


def test_table_has_the_cluster_in_its_order():
    assert tuple(pair.name for pair in PAIRS) == cluster_datasets("translation")


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_answer_is_the_english_side(pair):
    dataset = get_dataset(pair.name)
    fields = dataset.to_fields({pair.code: f" {pair.foreign}\n", "en": f"{pair.english} "})
    assert fields.values == {"foreign": pair.foreign}
    assert fields.answer == pair.english
    assert pair.language in dataset.description
    assert pair.foreign in dataset.description


@pytest.mark.parametrize("row", [{"de": " ", "en": "Hello"}, {"de": "Hallo", "en": "\n"}])
def test_rows_with_an_empty_side_are_dropped(row):
    assert to_fields_of("de")(row) is None


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_templates_name_their_own_language_and_both_directions(pair):
    others = {p.language for p in PAIRS} - {pair.language}
    templates = load_templates(pair.name).templates
    assert sum(t.kind == "inverted" for t in templates) == 3
    for template in templates:
        assert pair.language in template.input.source, template.id
        assert not any(language in template.input.source for language in others), template.id


def test_no_phrasing_is_shared_between_pairs():
    seen = {}
    for pair in PAIRS:
        for template in load_templates(pair.name).templates:
            phrasing = template.input.source.replace(pair.language, "LANGUAGE").casefold()
            assert phrasing not in seen, f"{pair.name} {template.id} is {seen[phrasing]}"
            seen[phrasing] = f"{pair.name} {template.id}"


@pytest.mark.parametrize("code", WORDS)
def test_toy_languages_know_the_world(code):
    words = dictionary(code)
    assert {*ANIMALS, *PLACES, *COLOURS, *ACTIONS} <= set(words)
    content = [words[word] for word in ENGLISH.split()[:34]]
    assert len(set(content)) == len(content), "two English words share a translation"


def test_toy_translation_goes_word_for_word():
    assert translate("The red fox waits in the park.", "de") == "Die rot Fuchs wartet in die Park."
    assert translate("Why does the red fox wait, Anna?", "cs") == "Proč červený liška čeká, Anna?"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_demo_rows_pass_through(pair):
    rows = generator("translation", pair.tfds)(random.Random(0), 2000)
    fields = [get_dataset(pair.name).to_fields(row) for row in rows]
    assert None not in fields
    assert len({f.answer for f in fields}) > 1500
    assert all(f.values["foreign"] != f.answer for f in fields)
