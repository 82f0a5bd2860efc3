"""Coreference: whom or what a pronoun, or a blank, stands for.

A pronoun that occurs more than once in its text is put between asterisks where it is the
one in question ("*he*"), so that the question has one meaning; other texts stay unmarked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flan.catalog.cleanup import detokenize
from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.registry import register
from flan.catalog.text import one_line


def mark_pronoun(text: str, pronoun: str, word: int = 0) -> str | None:
    """The text with the meant occurrence of `pronoun` in asterisks, if there are several.

    None where the text does not have the pronoun.

    Args:
      text: the text as it is in the row.
      pronoun: what to look for, as a whole word in any case.
      word: index of the meant occurrence among the text's words. The nearest occurrence
        is taken, since a few rows of the Winograd files count one off.
    """
    found = _occurrences(text, pronoun)
    if len(found) < 2:
        return text if found else None
    meant = min(found, key=lambda match: abs(_words_before(text, match.start()) - word))
    return f"{text[: meant.start()]}*{meant[0]}*{text[meant.end() :]}"


def _occurrences(text: str, words: str) -> list[re.Match[str]]:
    if not words:
        return []
    return list(re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE))


def _words_before(text: str, position: int) -> int:
    return len(text[:position].split())


# What begins the clause about the pronoun.
_CONNECTIVE = re.compile(r"[,;]|\b(?:and|because|but|since|so)\b", re.IGNORECASE)


def meant_word(text: str, pronoun: str, candidates: Sequence[str]) -> int:
    """Index of the word where a pronoun stands for one of two candidates.

    It is the first occurrence in the clause that follows the mention of both; in "the
    witches they found, since they feared them" the second. Without such a clause it is the
    first occurrence after both, or the first of all.
    """
    mentions = [found[0].end() for name in candidates if (found := _occurrences(text, name))]
    after = max(mentions, default=0)
    connective = _CONNECTIVE.search(text, after)
    places = [match.start() for match in _occurrences(text, pronoun)]
    for start in (connective.end() if connective else after, after):
        if later := [place for place in places if place >= start]:
            return _words_before(text, later[0])
    return 0


@register(
    name="definite_pronoun_resolution",
    cluster="coreference",
    title="Definite Pronoun Resolution",
    task_type="multiple_choice",
    fields=("sentence", "pronoun"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "definite_pronoun_resolution",
            "definite_pronoun_resolution",
            "1.1.0",
            validation=None,
            test="test",
            sizes={"train": 1_322, "test": 564},
            sizes_from="TFDS definite_pronoun_resolution 1.1.0, catalog",
        ),
    ),
)
def definite_pronoun_resolution(row: Row) -> Fields | None:
    """Definite Pronoun Resolution (Rahman and Ng, 2012): student-written Winograd-like pairs.

    Row:    {"sentence": "The wolf chased the hare because it was hungry.", "pronoun": "it",
             "candidates": ["The wolf", "the hare"], "label": 0}
    Fields: sentence and pronoun; options are the two candidates, answer "The wolf". Where the
            pronoun occurs more than once, the occurrence that is meant is marked. The row
            does not say which: it is taken to be that after both candidates were mentioned.
            A row whose pronoun is not in its sentence is dropped.
    """
    if row["label"] >= len(row["candidates"]):
        return None
    sentence, pronoun = one_line(row["sentence"]), one_line(row["pronoun"])
    candidates = [one_line(name) for name in row["candidates"]]
    marked = mark_pronoun(sentence, pronoun, meant_word(sentence, pronoun, candidates))
    return choice(candidates, row["label"], sentence=marked, pronoun=pronoun) if marked else None


@register(
    name="winogrande",
    cluster="coreference",
    title="WinoGrande",
    task_type="multiple_choice",
    fields=("sentence", "option1", "option2"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "winogrande",
            "winogrande",
            "1.2.0",
            train="train_xl",
            sizes={"train_xl": 40_398, "validation": 1_267, "test": 1_767},
            sizes_from="TFDS winogrande 1.1.0, catalog (winogrande_1.1.zip has as many)",
        ),
    ),
)
def winogrande(row: Row) -> Fields | None:
    """WinoGrande (largest training set): which of two names or nouns fills the blank.

    Row:    {"sentence": "The flag did not fit in the drawer because the _ was too big.",
             "option1": "flag", "option2": "drawer", "label": 0}
    Fields: sentence with its blank `_`; option1 and option2, which are also the options;
            answer "flag". The test split's labels are hidden (-1). A row without a blank is
            dropped.
    """
    options = (one_line(row["option1"]), one_line(row["option2"]))
    if "_" not in row["sentence"]:
        return None
    return choice(
        options,
        row["label"],
        sentence=detokenize(row["sentence"]),
        option1=options[0],
        option2=options[1],
    )


@register(
    name="wsc",
    cluster="coreference",
    title="WSC",
    task_type="classification",
    fields=("text", "pronoun", "noun"),
    options=("no", "yes"),
    labels=("False", "True"),
    metrics=("accuracy",),
    dev_size=50,
    version=2,
    sources=(
        Source(
            "wsc",
            "super_glue/wsc.fixed",
            "1.0.2",
            sizes={"train": 554, "validation": 104, "test": 146},
            sizes_from="TFDS super_glue 1.0.2, catalog",
        ),
        Source(
            "wsc273",
            "wsc273",
            "1.0.0",
            train=None,
            validation=None,
            test="test",
            sizes={"test": 273},
            sizes_from="TFDS wsc273 1.0.0, builder (it takes the first 273 schemas)",
        ),
    ),
)
def wsc(row: Row) -> Fields | None:
    """Winograd Schema Challenge (super_glue/wsc.fixed; wsc273): whether a pronoun means a noun.

    wsc.fixed asks a yes/no question about one noun phrase, and so does this dataset. The
    original 273 schemas give two candidates instead. They come as twins, one word apart and
    with opposite answers; both twins are asked about the same candidate, the first in one
    pair of rows, the second in the next. So the answers are balanced (135 yes, 138 no), and
    neither the candidate's place nor the text without its special word gives them away.

    Most texts of wsc273 are also in wsc.fixed's training split: scores on wsc273 mean
    something only when the coreference cluster is held out.

    Row (wsc.fixed): {"text": "Tom told Sam that he had won .", "span1_text": "Sam",
             "span1_index": 2, "span2_text": "he", "span2_index": 4, "label": 0, "idx": 3}
    Row (wsc273):    {"text": "Tom told Sam that he had won.", "option1": "Tom",
             "option1_normalized": "Tom", "option2": "Sam", "option2_normalized": "Sam",
             "pronoun_text": "he", "pronoun_start": 18, "pronoun_end": 20, "label": 0, "idx": 2}
    Fields: text without the tokenizer's spaces, pronoun "he", noun "Sam"; options ("no", "yes"),
            answer "no" for both rows (idx 2 falls in a pair that is asked about option 2). A
            row whose pronoun is not in its text is dropped.
    """
    if "span1_text" in row:
        pronoun, noun, label = row["span2_text"], row["span1_text"], row["label"]
        word = row["span2_index"]
    else:
        asked = row["idx"] // 2 % 2
        pronoun, noun = row["pronoun_text"], row[f"option{asked + 1}"]
        label = int(row["label"] == asked) if row["label"] in (0, 1) else -1
        word = _words_before(row["text"], row["pronoun_start"])
    pronoun = one_line(pronoun)
    text = mark_pronoun(one_line(row["text"]), pronoun, word)
    if text is None:
        return None
    return choice(
        ("no", "yes"), label, text=detokenize(text), pronoun=pronoun, noun=detokenize(noun)
    )
