"""Conversational questions, word senses, algebra, punctuation, question types, grammaticality."""

from __future__ import annotations

import re
import zlib

from flan.catalog.cleanup import detokenize
from flan.catalog.dataset import Fields, Row, Source, choice, free_form
from flan.catalog.encoding import repair_encoding
from flan.catalog.questions import finish_question
from flan.catalog.registry import register
from flan.catalog.text import leading_words, one_line, squeeze, strip_punctuation

# Story, dialogue and question have to fit in 1,023 tokens.
STORY_WORDS = 500
PASSAGE_WORDS = 600
TURNS = 8

YES_NO = ("no", "yes")
ACCEPTABILITY = ("unacceptable", "acceptable")
QUESTION_TYPES = (
    "a description",
    "an entity",
    "an abbreviation",
    "a person",
    "a number",
    "a location",
)
UNANSWERED = "not stated"


@register(
    name="coqa",
    cluster="misc",
    title="CoQA",
    task_type="generation",
    fields=("story", "dialogue", "question"),
    metrics=("f1", "exact_match"),
    dev_size=100,
    version=2,
    sources=(
        Source(
            "coqa",
            "coqa",
            "1.0.0",
            validation=None,
            test="test",
            sizes={"train": 7199, "test": 500},
            sizes_from="TFDS catalog, coqa 1.0.0",
        ),
    ),
)
def coqa(row: Row) -> Fields | None:
    r"""CoQA (coqa): questions asked in a conversation about a story, answered freely.

    A row is a whole conversation. We ask one of its questions, with the up to eight turns
    before it as context, since a list of all answers at once has no metric and gives later
    questions away. Which one is a checksum of the story, so it never changes, and all
    positions but the first (which has no conversation yet) come up. TFDS has CoQA's
    development file as `test`, with one reference answer for each question.

    Row:    {"source": "mctest", "story": "Rosa had a kite. It was red.",
             "questions": ["What did Rosa have?", "What colour was it?"],
             "answers": {"input_text": ["a kite", "red"], "answer_start": [9, 24],
                         "answer_end": [15, 27]}}
    Fields: story (its first 500 words), dialogue "Q: What did Rosa have?\nA: a kite",
            question "What colour was it?", answer "red".
    """
    questions = [finish_question(repair_encoding(question)) for question in row["questions"]]
    answers = [one_line(repair_encoding(answer)) for answer in row["answers"]["input_text"]]
    if not 2 <= len(questions) <= len(answers):
        return None
    turn = 1 + zlib.crc32(row["story"].encode()) % (len(questions) - 1)
    earlier = list(zip(questions, answers, strict=False))[max(0, turn - TURNS) : turn]
    return free_form(
        answers[turn],
        story=leading_words(squeeze(repair_encoding(row["story"])), STORY_WORDS),
        dialogue="\n".join(f"Q: {question}\nA: {answer}" for question, answer in earlier),
        question=questions[turn],
    )


@register(
    name="quac",
    cluster="misc",
    title="QuAC",
    task_type="generation",
    fields=("title", "section", "passage", "question"),
    metrics=("f1", "exact_match"),
    sources=(
        Source(
            "quac",
            "quac",
            "1.0.0",
            sizes={"train": 83568, "validation": 7354},
            sizes_from="TFDS catalog, quac 1.0.0",
        ),
    ),
)
def quac(row: Row) -> Fields | None:
    """QuAC (quac): a reader asks about a section of a Wikipedia article, the answer quotes it.

    TFDS has one row for each question, without the turns before it; the titles of article
    and section tell whom "he" or "the band" means. The word CANNOTANSWER, which ends each
    section and stands for "no answer", becomes "not stated"; the templates say so.
    References are the first teacher's answer and those of later ones.

    Row:    {"title": "Rosa Vale", "section_title": "Early life", "background": "...",
             "context": "Vale was born in Bergen in 1931. CANNOTANSWER",
             "question": "Where was she born?", "yesno": "x", "followup": "y",
             "orig_answer": {"text": "Bergen", "answer_start": 17},
             "answers": {"text": ["Bergen", "in Bergen"], "answer_start": [17, 14]}}
    Fields: title "Rosa Vale", section "Early life", passage "Vale was born in Bergen in
            1931." (first 600 words), question; answer "Bergen", references also "in Bergen".
    """
    spans = [row["orig_answer"]["text"], *row["answers"]["text"]]
    references = [
        UNANSWERED if one_line(span) == "CANNOTANSWER" else one_line(span) for span in spans
    ]
    return free_form(
        references,
        title=one_line(row["title"]),
        section=one_line(row["section_title"]),
        passage=leading_words(
            one_line(row["context"]).removesuffix("CANNOTANSWER").rstrip(), PASSAGE_WORDS
        ),
        question=one_line(row["question"]),
    )


@register(
    name="wic",
    cluster="misc",
    title="WiC",
    task_type="classification",
    fields=("word", "sentence1", "sentence2"),
    options=YES_NO,
    labels=("False", "True"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "wic",
            "super_glue/wic",
            "1.0.2",
            sizes={"train": 5428, "validation": 638, "test": 1400},
            sizes_from="TFDS super_glue 1.0.2, dataset_info",
        ),
    ),
)
def wic(row: Row) -> Fields | None:
    """Words in Context (super_glue/wic): one word in two sentences, in one sense or in two.

    Row:    {"word": "bank", "sentence1": "We sat on the bank of the river.",
             "sentence2": "The bank lent her money.", "start1": 14, "end1": 18,
             "start2": 4, "end2": 8, "label": 0, "idx": 0}
    Fields: word (its base form), sentence1, sentence2; options ("no", "yes"), answer "no".
    """
    return choice(
        YES_NO,
        row["label"],
        word=one_line(row["word"]),
        sentence1=one_line(row["sentence1"]),
        sentence2=one_line(row["sentence2"]),
    )


_EQUATION = re.compile(r"Solve (.+) for ([a-z])\.")


@register(
    name="math",
    cluster="misc",
    title="Mathematics Dataset",
    task_type="generation",
    fields=("question", "equation", "variable"),
    # Exact text: SQuAD's normal form of exact_match would drop a minus sign.
    metrics=("accuracy",),
    sources=(
        Source(
            "math",
            "math_dataset/algebra__linear_1d",
            "1.0.0",
            validation=None,
            test="test",
            sizes={"train": 1999998, "test": 10000},
            sizes_from="Saxton et al. 2019 (arXiv 1904.01557), files of algebra__linear_1d",
        ),
    ),
)
def math(row: Row) -> Fields | None:
    """DeepMind Mathematics (math_dataset/algebra__linear_1d): solve a linear equation.

    Every question reads "Solve ... for x." and every answer is an integer. A row of another
    form is dropped, since templates use the equation and the variable by themselves.

    Row:    {"question": "Solve 4*k + 11 = -9 for k.", "answer": "-5"}
    Fields: question as it is, equation "4*k + 11 = -9", variable "k"; answer "-5".
    """
    question = one_line(row["question"])
    answer = row["answer"].strip().replace("\N{MINUS SIGN}", "-")
    match = _EQUATION.fullmatch(question)
    if match is None or not re.fullmatch(r"-?\d+", answer):
        return None
    return free_form(str(int(answer)), question=question, equation=match[1], variable=match[2])


@register(
    name="fix_punct",
    cluster="misc",
    title="Fix Punctuation",
    task_type="generation",
    fields=("words",),
    # Not exact_match, whose normal form drops the punctuation that is asked for.
    metrics=("bleu", "accuracy"),
    sources=(
        Source(
            "fix_punct",
            "para_crawl/enda",
            "1.2.0",
            validation=None,
            sizes={"train": 2414895},
            sizes_from="TFDS catalog, para_crawl 1.2.0",
        ),
    ),
)
def fix_punct(row: Row) -> Fields | None:
    """Fix Punctuation (English side of para_crawl/enda): put the punctuation back.

    Any English text would do. The paper's code reads the English half of ParaCrawl's
    English-Danish pairs, which no translation task of the 62 uses, and so do we. Capitals
    stay: restoring them is `true_case`. Apostrophes, hyphens and points inside a word or
    number stay too. Web text that is no sentence (fewer than 4 or more than 100 words, no
    end mark, no capital at the start) is dropped. BLEU counts punctuation marks as tokens;
    ROUGE would not see them.

    Row:    {"en": "Yes, we don't open on Sundays.", "da": "Ja, vi har lukket om søndagen."}
    Fields: words "Yes we don't open on Sundays"; answer "Yes, we don't open on Sundays."
    """
    text = one_line(row["en"])
    words = strip_punctuation(text)
    opens_like_a_sentence = text.lstrip("\"'“‘(")[:1].isupper()
    closes_like_a_sentence = text.rstrip("\"'”’)")[-1:] in (".", "!", "?")
    if not opens_like_a_sentence or not closes_like_a_sentence:
        return None
    if not 4 <= len(words.split()) <= 100:
        return None
    return free_form(text, words=words)


@register(
    name="trec",
    cluster="misc",
    title="TREC",
    task_type="classification",
    fields=("question",),
    options=QUESTION_TYPES,
    labels=("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"),
    metrics=("accuracy",),
    version=2,
    sources=(
        Source(
            "trec",
            "trec",
            "1.0.0",
            validation=None,
            test="test",
            sizes={"train": 5452, "test": 500},
            sizes_from="TFDS catalog, trec 1.0.0",
        ),
    ),
)
def trec(row: Row) -> Fields | None:
    """TREC question classification (trec): the kind of answer that a question wants.

    The six coarse classes; the 47 fine ones are left alone. HUM is a person or a group of
    people, NUM any quantity, date or code, ENTY any other thing. The builder's text is
    tokenized and comes out as people write it.

    Row:    {"text": "What is Rosa Vale 's home town ?", "label-coarse": 5, "label-fine": 21}
    Fields: question "What is Rosa Vale's home town?"; options ("a description", "an entity",
            "an abbreviation", "a person", "a number", "a location"), answer "a location".
    """
    return choice(QUESTION_TYPES, row["label-coarse"], question=detokenize(row["text"]))


@register(
    name="cola",
    cluster="misc",
    title="CoLA",
    task_type="classification",
    fields=("sentence",),
    options=ACCEPTABILITY,
    labels=("unacceptable", "acceptable"),
    metrics=("matthews", "accuracy"),
    sources=(
        Source(
            "cola",
            "glue/cola",
            "2.0.0",
            sizes={"train": 8551, "validation": 1043, "test": 1063},
            sizes_from="TFDS catalog, glue/cola 2.0.0",
        ),
    ),
)
def cola(row: Row) -> Fields | None:
    """Corpus of Linguistic Acceptability (glue/cola): sentences that are good English or not.

    Sentences come from linguistics books and are judged by their authors.

    Row:    {"sentence": "Rosa put on the table.", "label": 0, "idx": 0}
    Fields: sentence; options ("unacceptable", "acceptable"), answer "unacceptable".
    """
    return choice(ACCEPTABILITY, row["label"], sentence=one_line(row["sentence"]))
