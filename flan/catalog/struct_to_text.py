"""Structured data to text: concepts, attribute lists and fact triples to fluent English.

The four come from GEM 1.1.0. Its training rows carry one `target`; validation and test
rows carry all texts people wrote in `references`, of which `target` is the first. Each
`to_fields` takes both, so that evaluation scores against every reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from flan.catalog.dataset import Fields, Row, Source, free_form
from flan.catalog.encoding import unescape_entities
from flan.catalog.registry import register
from flan.catalog.text import one_line

GEM = "TFDS gem 1.1.0, catalog"


def references(row: Row) -> list[str]:
    """`target` and every reference of a GEM row, each on one line, HTML entities resolved."""
    return [one_line(unescape_entities(text)) for text in (row["target"], *row["references"])]


def lines(texts: Iterable[str]) -> str:
    """Those texts that are not blank, one a line."""
    return "\n".join(text for text in map(one_line, texts) if text)


@register(
    name="common_gen",
    cluster="struct_to_text",
    title="CommonGen",
    task_type="generation",
    fields=("concepts",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "common_gen",
            "gem/common_gen",
            "1.1.0",
            sizes={"train": 67_389, "validation": 993, "test": 1_497},
            sizes_from=GEM,
        ),
    ),
)
def common_gen(row: Row) -> Fields | None:
    """CommonGen (gem/common_gen): an everyday sentence that uses all of three to five concepts.

    Row:    {"concepts": ["catch", "dog", "frisbee"], "concept_set_id": 7,
             "target": "The dog catches the frisbee in the air.",
             "references": [], "gem_id": "common_gen-train-19", "gem_parent_id": "..."}
    Fields: concepts "catch, dog, frisbee", base forms in the row's order; the answer is the
            sentence. The test split has no sentences and is not used.
    """
    return free_form(
        references(row), concepts=", ".join(filter(None, map(one_line, row["concepts"])))
    )


_SHOUTED = re.compile(r"(?<!\S)[^\sa-z]*_[^\sa-z]*(?!\S)")
_QUOTED_END = re.compile(r'(?<= )"([^"]*)"$')
_E2E_KEYS = {"eatType": "type", "priceRange": "price range", "familyFriendly": "family friendly"}
_E2E_RELATION = re.compile(
    r"(?<= )(eatType|food|priceRange|customer rating|area|familyFriendly|near)(?= )"
)


def _dart_triple(triple: str, from_e2e: bool) -> str:
    """The triple with its relation in capitals, without underscores, brackets and outer quotes."""
    triple = unescape_entities(triple)
    if from_e2e:
        triple = _E2E_RELATION.sub(lambda m: _E2E_KEYS.get(m[0], m[0]).upper(), triple, count=1)
    triple = triple.replace("[TABLECONTEXT] [TITLE]", "table CAPTION")
    triple = triple.replace("[TABLECONTEXT]", "table")
    triple = _SHOUTED.sub(lambda m: m[0].replace("_", " "), triple)
    return _QUOTED_END.sub(r"\1", " ".join(triple.split()))


@register(
    name="dart",
    cluster="struct_to_text",
    title="DART",
    task_type="generation",
    fields=("triples",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "dart",
            "gem/dart",
            "1.1.0",
            test="test",
            sizes={"train": 62_659, "validation": 2_768, "test": 6_959},
            sizes_from=GEM,
        ),
    ),
)
def dart(row: Row) -> Fields | None:
    """DART (gem/dart): a sentence or two out of facts from tables, WebNLG and E2E.

    The builder has joined subject, relation and object of each fact with single spaces, so
    they cannot be split again. Relations stand in capitals, but for the rows that come from
    E2E, whose few relation names are known; those are put in capitals too. `[TABLECONTEXT]`
    as subject means the table itself, and its `[TITLE]` becomes CAPTION, since many tables
    have a column TITLE as well.

    Row:    {"tripleset": ["[TABLECONTEXT] [TITLE] List of bridges",
                           "Old Mill Bridge YEAR_BUILT 1871"],
             "target": "The Old Mill Bridge was built in 1871.", "references": [],
             "target_sources": ["WikiTableQuestions_mturk"], "subtree_was_extended": False,
             "dart_id": 4, "gem_id": "dart-train-9", "gem_parent_id": "dart-train-9"}
    Fields: triples, one a line: "table CAPTION List of bridges", "Old Mill Bridge YEAR BUILT
            1871"; the answer is the sentence.
    """
    from_e2e = "e2e" in row["target_sources"]
    triples = lines(_dart_triple(triple, from_e2e) for triple in row["tripleset"])
    return free_form(references(row), triples=triples)


_E2E_SLOT = re.compile(r"([\w ]+)\[([^\]]*)\]")


@register(
    name="e2e_nlg",
    cluster="struct_to_text",
    title="E2E NLG",
    task_type="generation",
    fields=("attributes",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "e2e_nlg",
            "gem/e2e_nlg",
            "1.1.0",
            test="test",
            sizes={"train": 33_525, "validation": 4_299, "test": 4_693},
            sizes_from=GEM,
        ),
    ),
)
def e2e_nlg(row: Row) -> Fields | None:
    """Cleaned E2E NLG (gem/e2e_nlg): describe a place to eat or drink from its attributes.

    Row:    {"meaning_representation": "name[The Anchor], eatType[pub], near[The Old Forge]",
             "target": "The Anchor is a pub near The Old Forge.", "references": [],
             "gem_id": "e2e_nlg-train-3", "gem_parent_id": "e2e_nlg-train-3"}
    Fields: attributes "name: The Anchor, type: pub, near: The Old Forge"; the answer is the
            description. An attribute that occurs twice is listed twice.
    """
    slots = _E2E_SLOT.findall(row["meaning_representation"])
    attributes = [f"{_E2E_KEYS.get(key.strip(), key.strip())}: {value}" for key, value in slots]
    if not attributes:
        return None
    return free_form(references(row), attributes=", ".join(attributes))


_CAMEL = re.compile(r"[A-Za-z][a-z]+(?:[A-Z][a-z]+)+")
_ACRONYM = re.compile(r"\b([A-Z]{2,})([A-Z][a-z]+)")  # UTCOffset
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _web_nlg_triple(triple: str) -> str:
    """`Old_Town | isPartOf | "Riverton"` -> `Old Town | is part of | Riverton`."""
    parts = [part.strip().replace("_", " ") for part in triple.split(" | ")]
    if len(parts) == 3:
        parts[1] = _ACRONYM.sub(lambda word: f"{word[1]} {word[2].lower()}", parts[1])
        parts[1] = _CAMEL.sub(lambda word: _HUMP.sub(" ", word[0]).lower(), parts[1])
        parts[2] = re.sub(r'^"([^"]*)"$', r"\1", parts[2])
    return " | ".join(parts)


@register(
    name="web_nlg",
    cluster="struct_to_text",
    title="WebNLG",
    task_type="generation",
    fields=("triples",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "web_nlg",
            "gem/web_nlg_en",
            "1.1.0",
            test="test",
            sizes={"train": 35_426, "validation": 1_667, "test": 1_779},
            sizes_from=GEM,
        ),
    ),
)
def web_nlg(row: Row) -> Fields | None:
    """WebNLG, English (gem/web_nlg_en): a short text that states one to seven DBpedia facts.

    Row:    {"input": ["Old_Mill_Bridge | cityServed | Riverton,_Ohio",
                       'Old_Mill_Bridge | nickname | "The Crooked One"'],
             "target": "The Old Mill Bridge, nicknamed The Crooked One, serves Riverton, Ohio.",
             "references": [], "category": "Monument", "webnlg_id": "train/Monument/2/Id5",
             "gem_id": "web_nlg_en-train-30", "gem_parent_id": "web_nlg_en-train-30"}
    Fields: triples, one a line, as people would write them, quotes around objects gone: "Old Mill Bridge | city served |
            Riverton, Ohio", "Old Mill Bridge | nickname | The Crooked One"; the answer is the text.
    """
    return free_form(references(row), triples=lines(map(_web_nlg_triple, row["input"])))
