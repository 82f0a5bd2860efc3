"""Coreference: whom or what a pronoun, or a blank, stands for.

A pronoun that occurs more than once in its text is put between asterisks where it is the
one in question ("*he*"), so that the question has one meaning; other texts stay unmarked.
"""

from __future__ import annotations

import re

from flan.catalog.cleanup import detokenize
from flan.catalog.dataset import Fields, Row, Source, choice
from flan.catalog.registry import register


def mark_pronoun(text: str, pronoun: str, word: int = 0) -> str:
    """The text with the meant occurrence of `pronoun` in asterisks, if there are several.

    Args:
      text: the text as it is in the row.
      pronoun: what to look for, as a whole word in any case.
      word: index of the meant occurrence among the text's words. The nearest occurrence
        is taken, since a few rows of the Winograd files count one off.
    """
    found = list(re.finditer(rf"(?<!\w){re.escape(pronoun)}(?!\w)", text, re.IGNORECASE))
    if len(found) < 2:
        return text
    meant = min(found, key=lambda match: abs(len(text[: match.start()].split()) - word))
    return f"{text[: meant.start()]}*{meant[0]}*{text[meant.end() :]}"


@register(
    name="definite_pronoun_resolution",
    cluster="coreference",
    title="Definite Pronoun Resolution",
    task_type="multiple_choice",
    fields=("sentence", "pronoun"),
    metrics=("accuracy",),
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
    Fields: sentence and pronoun as they are; options are the two candidates, answer "The wolf".
            Where the pronoun occurs more than once its first occurrence is meant, and marked.
    """
    if row["label"] >= len(row["candidates"]):
        return None
    sentence = mark_pronoun(row["sentence"].strip(), row["pronoun"])
    return choice(row["candidates"], row["label"], sentence=sentence, pronoun=row["pronoun"])


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
            answer "flag". The test split's labels are hidden (-1).
    """
    options = (row["option1"].strip(), row["option2"].strip())
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
            answer "no" for both rows (idx 2 falls in a pair that is asked about option 2).
    """
    if "span1_text" in row:
        pronoun, noun, label = row["span2_text"], row["span1_text"], row["label"]
        text = mark_pronoun(row["text"], pronoun, row["span2_index"])
    else:
        asked = row["idx"] // 2 % 2
        pronoun, noun = row["pronoun_text"], row[f"option{asked + 1}"]
        label = int(row["label"] == asked)
        text = mark_pronoun(row["text"], pronoun, len(row["text"][: row["pronoun_start"]].split()))
    return choice(
        ("no", "yes"), label, text=detokenize(text), pronoun=pronoun, noun=detokenize(noun)
    )
