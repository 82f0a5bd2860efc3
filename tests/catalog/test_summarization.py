"""What `to_fields` of the summarization cluster repairs, cuts and drops; demo rows go through it."""

import random

import pytest

from flan.catalog import Fields, clusters, get_dataset
from flan.data.demo_rows.summarization import GENERATORS


def fields_of(name: str, row: dict) -> Fields:
    fields = get_dataset(name).to_fields(row)
    assert fields is not None
    return fields


def test_aeslc_squeezes_spaces_but_keeps_lines():
    row = {"email_body": "Rosa,  hello.\n\n\n\nBye \n", "subject_line": " Plumber\n"}
    fields = fields_of("aeslc", row)
    assert fields.values["email"] == "Rosa, hello.\n\nBye"
    assert fields.answer == "Plumber"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("The city #39;s parks", "The city's parks"),
        ("The teams #39; coaches", "The teams' coaches"),
        ("He said  quot;no quot; twice", 'He said "no" twice'),
        ("paid \\$5 million", "paid $5 million"),
        ("AT amp;T", "AT&T"),
        ("one\\two", "one two"),
        ("So says &lt;A HREF=x&gt;Reuters&lt;/A&gt;.", "So says Reuters ."),
        ("UK #39;s #39;Dr Who #39; of teams #39; dogs", "UK's 'Dr Who' of teams' dogs"),
        (" #39;Abhorrent act #39; says Blair", "'Abhorrent act' says Blair"),
        ("He said #39; #39;no #39; #39;", 'He said "no"'),
    ],
)
def test_ag_news_repairs_entities(raw, clean):
    row = {"title": "T", "description": raw, "label": 0}
    assert fields_of("ag_news", row).values["description"] == clean


@pytest.mark.parametrize(
    ("opening", "ending"),
    [
        ("", ""),
        ("AP - ", " (AP)"),
        ("PC World - ", " (PC World)"),
        ("NEW YORK (Reuters) - ", ""),
        ("Madrid, Spain (Sports Network) -- ", ""),
        ("BAGHDAD, Iraq - ", ""),
    ],
)
def test_ag_news_drops_agency_and_dateline(opening, ending):
    row = {"title": f"Harbour reopens{ending}", "description": f"{opening}A ship came.", "label": 1}
    fields = fields_of("ag_news", row)
    assert fields.values["description"] == "A ship came."
    assert fields.answer == "Harbour reopens"


def test_ag_news_without_a_topic_is_dropped():
    row = {"title": "Harbour reopens", "description": "AP - It reopened.", "label": -1}
    assert get_dataset("ag_news").to_fields(row) is None
    fields = get_dataset("ag_news").to_fields(row | {"label": 1})
    assert fields.values == {"description": "It reopened.", "topic": "sports"}


def test_cnn_dailymail_drops_a_dateline_of_two_spaces():
    row = {"article": "BOGOTA, Colombia  (CNN)  -- Ships.", "highlights": "Ships ."}
    assert get_dataset("cnn_dailymail").to_fields(row).values["article"] == "Ships."


def test_cnn_dailymail_drops_the_dateline_and_joins_highlights():
    row = {
        "article": "LONDON, England (CNN) -- A bird was seen. (CNN) -- stays here.",
        "highlights": "Bird seen in UK .\nFirst since 1960 .\nExperts amazed!",
        "id": "1",
        "publisher": "cnn",
    }
    fields = fields_of("cnn_dailymail", row)
    assert fields.values["article"] == "A bird was seen. (CNN) -- stays here."
    assert fields.answer == "Bird seen in UK. First since 1960. Experts amazed!"


def test_gigaword_undoes_tokenization_and_keeps_hidden_digits():
    row = {
        "document": "`` # people , '' a ## - year-old said -lrb- in #### -rrb- , sold the firm 's #\\/# share .",
        "summary": "firm 's share sold",
    }
    fields = fields_of("gigaword", row)
    assert fields.values["sentence"] == (
        '"# people," a ##-year-old said (in ####), sold the firm\'s #/# share.'
    )
    assert fields.answer == "firm's share sold"


@pytest.mark.parametrize("field", ["document", "summary"])
def test_gigaword_drops_unknown_words(field):
    row = {"document": "a dog barked .", "summary": "dog barks"}
    assert get_dataset("gigaword").to_fields(row) is not None
    assert get_dataset("gigaword").to_fields({**row, field: "the UNK barked"}) is None


def test_gigaword_resolves_entities():
    row = {"document": "bradford &amp; bingley fell ## percent .", "summary": "h &amp; m rises"}
    fields = get_dataset("gigaword").to_fields(row)
    assert fields.values["sentence"] == "bradford & bingley fell ## percent."
    assert fields.answer == "h & m rises"


def test_newsroom_summaries_lose_entities():
    row = {
        "text": "Iranâ\x80\x99s ship sailed.",
        "summary": "Chris & nbsp; O& rsquo;Hara & quot;won& quot;",
    }
    fields = get_dataset("newsroom").to_fields(row)
    assert fields.values["article"] == "Iran’s ship sailed."
    assert fields.answer == 'Chris O’Hara "won"'


def test_xsum_repairs_quotes_and_letters():
    row = {"document": "``GoiÃ¡s'' is in Brazil.", "summary": "A naÃ¯f said ``no''."}
    fields = get_dataset("xsum").to_fields(row)
    assert (fields.values["article"], fields.answer) == (
        '"Goiás" is in Brazil.',
        'A naïf said "no".',
    )


def test_multi_news_numbers_articles_and_shares_the_room():
    long, short = "long " * 2000, "short " * 20
    row = {"document": f"{long}|||||\n{short}||||| \n |||||{long}", "summary": "– It rained."}
    fields = fields_of("multi_news", row)
    articles = fields.values["articles"].split("\n\n")
    assert [a.split()[1] for a in articles] == ["1:", "2:", "3:"]
    assert [len(a.split()) - 2 for a in articles] == [290, 20, 290]
    assert fields.answer == "It rained."


def test_several_texts_are_whole_when_they_fit():
    sentences = [f"Sentence number {i}." for i in range(30)]
    row = {
        "_debate_name": "D",
        "_claim": "C.",
        "_claim_id": "1_0",
        "_argument_sentences": {"key": [str(i) for i in range(30)], "value": sentences},
    }
    assert fields_of("idebate", row).values["argument"] == " ".join(sentences)


def test_rotten_tomatoes_takes_twenty_reviews_and_no_tags():
    row = {
        "_movie_name": "M",
        "_movie_id": "m",
        "_critic_consensus": "<i>M</i> is <em>fine</em>.",
        "_critics": {"key": [str(i) for i in range(90)], "value": ["", *["word " * 99] * 89]},
    }
    fields = fields_of("rotten_tomatoes", row)
    reviews = fields.values["reviews"].split("\n")
    assert len(reviews) == 20
    assert {len(review.split()) for review in reviews} == {30}
    assert fields.answer == "M is fine."


def test_samsum_has_plain_line_ends():
    row = {"id": "1", "dialogue": "Rosa: hi\r\nTom: hi\r\n", "summary": "They\r\nmeet."}
    fields = fields_of("samsum", row)
    assert fields.values["dialogue"] == "Rosa: hi\nTom: hi"
    assert fields.answer == "They meet."


def test_xsum_repairs_currencies_and_drops_the_time_stamp():
    row = {
        "document": "22 May 2015 Last updated at 17:40 BST\nIt costs Â£5 or â‚¬6.",
        "summary": "A Â£5 story.",
    }
    fields = fields_of("xsum", row)
    assert fields.values["article"] == "It costs £5 or €6."
    assert fields.answer == "A £5 story."


@pytest.mark.parametrize("name", clusters.CLUSTERS["summarization"])
def test_demo_rows_keep_their_examples(name):
    dataset = get_dataset(name)
    generate = GENERATORS[dataset.sources[0].tfds]
    rows = generate(random.Random(1), 300)
    assert rows == generate(random.Random(1), 300)
    examples = [fields_of(name, row) for row in rows]
    assert len({tuple(example.values.items()) for example in examples}) > 250


SUMMARY_KEYS = {
    "aeslc": ("email_body", "subject_line"),
    "ag_news": ("description", "title"),
    "cnn_dailymail": ("article", "highlights"),
    "gigaword": ("document", "summary"),
    "multi_news": ("document", "summary"),
    "newsroom": ("text", "summary"),
    "samsum": ("dialogue", "summary"),
    "xsum": ("document", "summary"),
}


@pytest.mark.parametrize("name", ["aeslc", "cnn_dailymail", "newsroom", "samsum", "xsum"])
def test_a_long_text_leaves_room_for_an_instruction_after_it(name):
    dataset = get_dataset(name)
    row = GENERATORS[dataset.sources[0].tfds](random.Random(3), 1)[0]
    fields = fields_of(name, {**row, SUMMARY_KEYS[name][0]: "word " * 5000})
    assert [len(value.split()) for value in fields.values.values()] == [600]


@pytest.mark.parametrize("name", SUMMARY_KEYS)
def test_a_row_without_text_or_summary_is_dropped(name):
    dataset = get_dataset(name)
    row = GENERATORS[dataset.sources[0].tfds](random.Random(3), 1)[0]
    for key in SUMMARY_KEYS[name]:
        assert dataset.to_fields({**row, key: " \n "}) is None
