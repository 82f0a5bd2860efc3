"""What `to_fields` of the misc cluster does beyond naming fields; demo rows go through it."""

import random

import pytest

from flan.catalog import Fields, clusters, get_dataset
from flan.data.demo_rows.misc import GENERATORS


def fields_of(name: str, row: dict) -> Fields:
    fields = get_dataset(name).to_fields(row)
    assert fields is not None
    return fields


def conversation(turns: int, story: str = "A story.") -> dict:
    return {
        "source": "demo",
        "story": story,
        "questions": [f"Question {i}?" for i in range(turns)],
        "answers": {
            "input_text": [f" answer {i} " for i in range(turns)],
            "answer_start": [0] * turns,
            "answer_end": [0] * turns,
        },
    }


def test_coqa_asks_one_question_and_shows_only_what_came_before():
    asked = set()
    for n in range(200):
        fields = fields_of("coqa", conversation(15, f"Story {n}."))
        turn = int(fields.answer.removeprefix("answer "))
        asked.add(turn)
        first = max(0, turn - 8)
        assert fields.values["question"] == f"Question {turn}?"
        assert fields.values["dialogue"] == "\n".join(
            f"Q: Question {i}?\nA: answer {i}" for i in range(first, turn)
        )
    assert asked == set(range(1, 15))


def test_coqa_repairs_texts_and_finishes_questions():
    row = {
        "story": "Rosa sat by her sideâ€”in May.",
        "questions": ["Who sat", "Where ?"],
        "answers": {"input_text": ["Rosa", "by a fiancÃ©"]},
    }
    fields = get_dataset("coqa").to_fields(row)
    assert fields.values == {
        "story": "Rosa sat by her side—in May.",
        "dialogue": "Q: Who sat?\nA: Rosa",
        "question": "Where?",
    }
    assert fields.answer == "by a fiancé"


def test_wic_word_is_on_one_line():
    row = {"word": " bank\n", "sentence1": "A bank.", "sentence2": "The bank.", "label": 1}
    assert get_dataset("wic").to_fields(row).values["word"] == "bank"


def test_coqa_chooses_the_same_question_every_time():
    to_fields = get_dataset("coqa").to_fields
    assert to_fields(conversation(12)) == to_fields(conversation(12))


def test_coqa_drops_a_conversation_of_one_turn():
    assert get_dataset("coqa").to_fields(conversation(1)) is None


def test_coqa_cuts_a_long_story_so_that_the_question_is_seen():
    fields = fields_of("coqa", conversation(10, "word " * 3000))
    assert len(fields.values["story"].split()) == 500


def quac_row(answer: str, *others: str) -> dict:
    return {
        "title": "Rosa Vale",
        "section_title": "Early life",
        "background": "",
        "context": "Vale was born in Bergen in 1931. CANNOTANSWER",
        "question": "Where was she born?",
        "orig_answer": {"text": answer, "answer_start": 0},
        "answers": {"text": [answer, *others], "answer_start": [0] * (1 + len(others))},
        "yesno": "x",
        "followup": "y",
    }


def test_quac_hides_the_no_answer_token():
    fields = fields_of("quac", quac_row("CANNOTANSWER", "in Bergen"))
    assert fields.values["passage"] == "Vale was born in Bergen in 1931."
    assert fields.answer == "not stated"
    assert fields.references == ("not stated", "in Bergen")


def test_quac_keeps_each_reference_once():
    fields = fields_of("quac", quac_row("Bergen", "in Bergen", "Bergen"))
    assert fields.references == ("Bergen", "in Bergen")


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Solve 3*x - 4 = 11 for x.", "5", ("3*x - 4 = 11", "x", "5")),
        ("Solve -2*b = 8 for b.", " \N{MINUS SIGN}4 ", ("-2*b = 8", "b", "-4")),
        ("Solve 0 = -k for k.", "-0", ("0 = -k", "k", "0")),
    ],
)
def test_math_takes_the_question_apart_and_normalises_the_answer(question, answer, expected):
    fields = fields_of("math", {"question": question, "answer": answer})
    assert (fields.values["equation"], fields.values["variable"], fields.answer) == expected


@pytest.mark.parametrize(
    ("question", "answer"),
    [("What is 2 + 2?", "4"), ("Solve 2*x = 1 for x.", "1/2"), ("Solve x = 1 for x.", "")],
)
def test_math_drops_rows_of_another_form(question, answer):
    assert get_dataset("math").to_fields({"question": question, "answer": answer}) is None


def test_fix_punct_removes_marks_and_nothing_else():
    text = '"No," said O\'Hara - at 3.30 p.m., or so - "we don\'t open (yet)."'
    fields = fields_of("fix_punct", {"en": text, "da": ""})
    assert fields.values["words"] == "No said O'Hara at 3.30 p.m or so we don't open yet"
    assert fields.answer == text


@pytest.mark.parametrize(
    "text",
    [
        "Home | Products | Contact",
        "lower case at the start of this.",
        "Much too short.",
        "Many words " + "and more " * 60 + "here.",
        "",
    ],
)
def test_fix_punct_drops_web_text_that_is_no_sentence(text):
    assert get_dataset("fix_punct").to_fields({"en": text, "da": ""}) is None


def test_trec_reads_the_coarse_label_and_undoes_tokenization():
    row = {"text": "Who wrote `` Rosa 's Hat '' ?", "label-coarse": 3, "label-fine": 4}
    fields = fields_of("trec", row)
    assert fields.values["question"] == 'Who wrote "Rosa\'s Hat"?'
    assert fields.answer == "a person"


@pytest.mark.parametrize("name", clusters.CLUSTERS["misc"])
def test_demo_rows_keep_their_examples(name):
    dataset = get_dataset(name)
    generate = GENERATORS[dataset.sources[0].tfds]
    rows = generate(random.Random(1), 300)
    assert rows == generate(random.Random(1), 300)
    examples = [fields_of(name, row) for row in rows]
    texts = {tuple(example.values.items()) for example in examples}
    assert len(texts) > 250
    if dataset.options:
        assert {example.label for example in examples} == set(range(len(dataset.options)))


def test_demo_spans_point_at_their_words():
    for row in GENERATORS["super_glue/wic"](random.Random(2), 200):
        for n in (1, 2):
            span = row[f"sentence{n}"][row[f"start{n}"] : row[f"end{n}"]]
            assert span.lower() == row["word"]
    for row in GENERATORS["coqa"](random.Random(2), 50):
        answers = row["answers"]
        spans = zip(answers["answer_start"], answers["answer_end"], strict=True)
        assert [row["story"][a:b] for a, b in spans] == answers["input_text"]
    for row in GENERATORS["quac"](random.Random(2), 50):
        answer = row["orig_answer"]
        assert row["context"][answer["answer_start"] :].startswith(answer["text"])
