import random

import pytest

from flan.catalog.registry import get_dataset
from flan.data.demo_rows import generator

NO_IDS = {"gem_id": "x-train-0", "gem_parent_id": "x-train-0"}


def dart_row(*triples, source="webnlg"):
    return {
        "tripleset": list(triples),
        "target_sources": [source],
        "target": "Text.",
        "references": [],
        "dart_id": 0,
        "subtree_was_extended": False,
        **NO_IDS,
    }


def test_references_are_the_target_and_all_others_once():
    row = {
        "concepts": ["cook", "kitchen", "soup"],
        "concept_set_id": 0,
        "target": "She cooks soup in  the kitchen. ",
        "references": ["She cooks soup in the kitchen.", "Soup is cooking in the kitchen."],
        **NO_IDS,
    }
    fields = get_dataset("common_gen").to_fields(row)
    assert fields.values == {"concepts": "cook, kitchen, soup"}
    assert fields.references == (
        "She cooks soup in the kitchen.",
        "Soup is cooking in the kitchen.",
    )


def test_entities_and_blank_facts_go():
    row = {"target": "Lippincott &amp; Co is here.", "references": [], **NO_IDS}
    dart = {"tripleset": ["", "A &amp; B OWNER C", " \n"], "target_sources": []}
    fields = get_dataset("dart").to_fields(row | dart)
    assert (fields.values["triples"], fields.answer) == (
        "A & B OWNER C",
        "Lippincott & Co is here.",
    )
    fields = get_dataset("web_nlg").to_fields(row | {"input": [" ", "Rome | UTCOffset | +1  h"]})
    assert fields.values["triples"] == "Rome | UTC offset | +1 h"
    fields = get_dataset("common_gen").to_fields(row | {"concepts": ["dog ", "", "ice\ncream"]})
    assert fields.values["concepts"] == "dog, ice cream"


def test_rows_without_any_text_are_dropped():
    row = {"concepts": ["a", "b"], "concept_set_id": 0, "target": "", "references": [], **NO_IDS}
    assert get_dataset("common_gen").to_fields(row) is None


@pytest.mark.parametrize(
    ("triple", "said"),
    [
        ("Old Mill Bridge YEAR_BUILT 1871", "Old Mill Bridge YEAR BUILT 1871"),
        (
            "Jo Bell OFFICE_(WORKED_AT,_WORKED_AS) Mayor",
            "Jo Bell OFFICE (WORKED AT, WORKED AS) Mayor",
        ),
        ("[TABLECONTEXT] [TITLE] List of bridges", "table CAPTION List of bridges"),
        ("[TABLECONTEXT] TITLE The Ex-Con", "table TITLE The Ex-Con"),
        ("The Ex-Con NO._IN_SERIES 136", "The Ex-Con NO. IN SERIES 136"),
        ('A.B. Hall CITY "Salem"', "A.B. Hall CITY Salem"),
        ("snake_case LANGUAGE Python", "snake_case LANGUAGE Python"),
    ],
)
def test_dart_relations_read_as_words_in_capitals(triple, said):
    assert get_dataset("dart").to_fields(dart_row(triple)).values["triples"] == said


def test_dart_capitalizes_the_relations_of_e2e_only_there():
    triple = "The Inn near The Mill near The Forge"
    e2e = get_dataset("dart").to_fields(dart_row(triple, "The Inn eatType pub", source="e2e"))
    assert e2e.values["triples"].splitlines() == [
        "The Inn NEAR The Mill near The Forge",
        "The Inn TYPE pub",
    ]
    assert get_dataset("dart").to_fields(dart_row(triple)).values["triples"] == triple


def test_e2e_attributes_keep_order_and_repetitions():
    row = {
        "meaning_representation": "name[The Inn], eatType[pub], eatType[restaurant], "
        "priceRange[£20-25], customer rating[3 out of 5], familyFriendly[no]",
        "target": "The Inn is a pub.",
        "references": [],
        **NO_IDS,
    }
    assert get_dataset("e2e_nlg").to_fields(row).values["attributes"] == (
        "name: The Inn, type: pub, type: restaurant, price range: £20-25, "
        "customer rating: 3 out of 5, family friendly: no"
    )
    assert get_dataset("e2e_nlg").to_fields(row | {"meaning_representation": ""}) is None


def test_web_nlg_triples_read_as_people_write_them():
    row = {
        "input": [
            "Acton_Airport | elevationAboveTheSeaLevel_(in_metres) | 12.0",
            "Acton_Airport | IATA_Location_Identifier | ACT",
            'McNeil_(band) | fullName | "The McNeil Band"',
            "Acton | has to its north | St._John's",
        ],
        "target": "Text.",
        "references": [],
        "category": "Airport",
        "webnlg_id": "x",
        **NO_IDS,
    }
    assert get_dataset("web_nlg").to_fields(row).values["triples"].splitlines() == [
        "Acton Airport | elevation above the sea level (in metres) | 12.0",
        "Acton Airport | IATA Location Identifier | ACT",
        "McNeil (band) | full name | The McNeil Band",
        "Acton | has to its north | St. John's",
    ]


@pytest.mark.parametrize("name", ["common_gen", "dart", "e2e_nlg", "web_nlg"])
def test_demo_rows_pass_through(name):
    dataset = get_dataset(name)
    rows = generator("struct_to_text", dataset.sources[0].tfds)(random.Random(0), 2000)
    fields = [dataset.to_fields(row) for row in rows]
    assert len({f.answer for f in fields}) > 1500
    (field,) = dataset.fields
    assert all("_" not in f.values[field] for f in fields)
