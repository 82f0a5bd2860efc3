"""Reading comprehension: questions whose answer is in a passage that comes with them."""

from __future__ import annotations

import re

from flan.catalog.cleanup import detokenize_lines, shorten, straight_quotes
from flan.catalog.dataset import Fields, Row, Source, choice, free_form
from flan.catalog.encoding import repair_encoding, unescape_entities
from flan.catalog.questions import as_question, finish_question
from flan.catalog.registry import register
from flan.catalog.text import one_line, squeeze

SUPER_GLUE = "TFDS super_glue 1.0.2, catalog"
SQUAD = "TFDS squad 3.0.0, catalog"

UNANSWERABLE = "unanswerable"
NO_FACT = "(none given)"

# The builder joins a date's parts so: 1918-November-11, or -May-8 without a year.
_DATE = re.compile(r"(\d*)-([A-Za-z]+)-(\d{1,2})")


@register(
    name="bool_q",
    cluster="reading_comprehension",
    title="BoolQ",
    task_type="classification",
    fields=("passage", "question", "title"),
    options=("no", "yes"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "bool_q",
            "bool_q",
            "1.0.0",
            sizes={"train": 9_427, "validation": 3_270},
            sizes_from="TFDS bool_q 1.0.0, catalog",
        ),
    ),
)
def bool_q(row: Row) -> Fields | None:
    """BoolQ (bool_q): yes/no questions typed into a search engine, with a Wikipedia paragraph.

    Row:    {"question": "is the sea otter a kind of seal", "title": "Sea otter",
             "passage": "The sea otter is a marine mammal of the weasel family.",
             "answer": False}
    Fields: question as "Is the sea otter a kind of seal?"; passage (beyond 3,600 characters
            it loses its middle) and title, LaTeX's quotation marks as straight ones;
            options ("no", "yes"), the order of False and True; answer "no".
    """
    return choice(
        ("no", "yes"),
        int(row["answer"]),
        passage=shorten(squeeze(straight_quotes(row["passage"]))),
        question=as_question(one_line(straight_quotes(row["question"]))),
        title=one_line(straight_quotes(row["title"])),
    )


@register(
    name="drop",
    cluster="reading_comprehension",
    title="DROP",
    task_type="generation",
    fields=("passage", "question"),
    metrics=("drop", "drop_exact_match"),
    version=2,
    sources=(
        Source(
            "drop",
            "drop",
            "2.0.0",
            validation="dev",
            sizes={"train": 77_409, "dev": 9_536},
            sizes_from="TFDS drop 2.0.0, catalog",
        ),
    ),
)
def drop(row: Row) -> Fields | None:
    """DROP (drop): questions that take counting, arithmetic or sorting over a paragraph.

    Row:    {"passage": "The Bears led 10&#8211;3 at half-time and won 24&#8211;10 .",
             "question": "How many points did the Bears score in the second half",
             "answer": "14", "validated_answers": ["14", "14 points"], "query_id": "x0"}
    Fields: passage with HTML entities resolved, its middle cut out beyond 3,600 characters;
            question with its question mark; answer "14"; references ("14", "14 points"), the
            annotator's answer and those of the validators. Dates come from the builder as
            1918-November-11 and are written 11 November 1918, as the official scorer does.
            Of an answer with several spans the builder keeps the first, and it leaves an
            answer empty where a date has no day: such rows take a validator's answer, or
            are dropped.
    """
    answers = [row["answer"], *row["validated_answers"]]
    return free_form(
        [_written_date(one_line(answer)) for answer in answers],
        passage=shorten(squeeze(unescape_entities(row["passage"]))),
        question=finish_question(unescape_entities(row["question"])),
    )


def _written_date(answer: str) -> str:
    if match := _DATE.fullmatch(answer):
        year, month, day = match.groups()
        return f"{day} {month} {year}".strip()
    return answer


@register(
    name="multirc",
    cluster="reading_comprehension",
    title="MultiRC",
    task_type="classification",
    fields=("paragraph", "question", "candidate"),
    options=("no", "yes"),
    labels=("False", "True"),
    metrics=("binary_f1", "accuracy"),
    version=2,
    sources=(
        Source(
            "multirc",
            "super_glue/multirc",
            "1.0.2",
            sizes={"train": 27_243, "validation": 4_848, "test": 9_693},
            sizes_from=SUPER_GLUE,
        ),
    ),
)
def multirc(row: Row) -> Fields | None:
    """MultiRC (super_glue/multirc): whether this is one of the right answers to a question.

    A question has several candidate answers, any number of them right; each is a row.

    Row:    {"paragraph": "Lena took the bus to town. Her brother walked.",
             "question": "Who went to town", "answer": "Lena", "label": 1,
             "idx": {"paragraph": 0, "question": 0, "answer": 0}}
    Fields: paragraph, its tokenized lines as people write them; question "Who went to town?";
            candidate "Lena" (the row's answer); options ("no", "yes"), answer "yes".
    """
    return choice(
        ("no", "yes"),
        row["label"],
        paragraph=squeeze(detokenize_lines(repair_encoding(row["paragraph"]))),
        question=finish_question(repair_encoding(row["question"])),
        candidate=one_line(repair_encoding(row["answer"])),
    )


@register(
    name="openbookqa",
    cluster="reading_comprehension",
    title="OpenBookQA",
    task_type="multiple_choice",
    fields=("fact", "question"),
    metrics=("accuracy",),
    sources=(
        Source(
            "openbookqa",
            "openbookqa",
            "0.1.0",
            test="test",
            sizes={"train": 4_957, "validation": 500, "test": 500},
            sizes_from="TFDS openbookqa 0.1.0, catalog",
        ),
    ),
)
def openbookqa(row: Row) -> Fields | None:
    """OpenBookQA (openbookqa): elementary science, with the fact out of the book that it tests.

    The fact makes this reading comprehension, as in FLAN. Scores are therefore not those of
    the closed setting, where the model sees the question alone.

    Row:    {"question": {"stem": "A lamp shines because it is given", "choice_A": "paint",
             "choice_B": "electricity", "choice_C": "water", "choice_D": "shade"},
             "fact1": "a lamp turns electricity into light", "answerKey": 1,
             "humanScore": 1.0, "clarity": 2.0, "turkIdAnonymized": "x"}
    Fields: question is the stem as it is, often a sentence to finish; fact, or "(none given)"
            in files that leave it out; options are the four choices; answer "electricity".
    """
    question = row["question"]
    return choice(
        [one_line(question[f"choice_{letter}"]) for letter in "ABCD"],
        row["answerKey"],
        fact=one_line(row["fact1"]) or NO_FACT,
        question=one_line(question["stem"]),
    )


@register(
    name="squad",
    cluster="reading_comprehension",
    title="SQuAD",
    task_type="generation",
    fields=("passage", "question"),
    metrics=("f1", "exact_match"),
    version=2,
    sources=(
        Source(
            "v1",
            "squad/v1.1",
            "3.0.0",
            sizes={"train": 87_599, "validation": 10_570},
            sizes_from=SQUAD,
        ),
        Source(
            "v2",
            "squad/v2.0",
            "3.0.0",
            sizes={"train": 130_319, "validation": 11_873},
            sizes_from=SQUAD,
        ),
    ),
)
def squad(row: Row) -> Fields | None:
    """SQuAD (squad/v1.1, squad/v2.0): the answer is a span of a Wikipedia paragraph.

    In v2 a third of the questions have no answer in the paragraph; theirs is the word
    "unanswerable", which each template names.

    Row:    {"context": "The bridge was opened in 1894 by the mayor.", "title": "Bridge",
             "question": "When was the bridge opened? ", "id": "x",
             "answers": {"answer_start": [25, 22], "text": ["1894", "in 1894"]}}
    Fields: passage (the row's context) and question; answer "1894"; references
            ("1894", "in 1894"), each annotator's answer once.
    """
    answers = row["answers"]["text"]
    if row.get("is_impossible", False):
        answers = (UNANSWERABLE,)
    return free_form(
        [one_line(answer) for answer in answers],
        passage=shorten(squeeze(row["context"])),
        question=finish_question(row["question"]),
    )
