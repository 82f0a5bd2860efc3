"""Summaries of news, mail, chats, debates, reviews and how-to guides.

Targets are one line of text. A row without a text or without a summary is dropped.
Texts keep their first 600 words, and where a row has several, these share them. So the
cut at 1,023 tokens takes neither an instruction that stands after the text nor a whole
article.
"""

from __future__ import annotations

import re

from flan.catalog.cleanup import detokenize, straight_quotes
from flan.catalog.dataset import Fields, Row, Source, free_form
from flan.catalog.datelines import strip_dateline, strip_news_opening
from flan.catalog.encoding import repair_encoding, unescape_entities
from flan.catalog.registry import register
from flan.catalog.text import (
    evenly_cut,
    leading_words,
    one_line,
    repair_entities,
    squeeze,
    strip_tags,
)

TEXT_WORDS = 600
_AG_TOPICS = ("world affairs", "sports", "business", "science and technology")


def _text(raw: str) -> str:
    return leading_words(squeeze(raw), TEXT_WORDS)


def _summary_of(summary: str, text: str, **values: str) -> Fields | None:
    """`free_form` for a one-line summary; None where the text to summarize is empty."""
    return free_form(one_line(summary), **values) if text else None


@register(
    name="aeslc",
    cluster="summarization",
    title="AESLC",
    task_type="generation",
    fields=("email",),
    metrics=("rouge",),
    sources=(
        Source(
            "aeslc",
            "aeslc",
            "1.0.0",
            test="test",
            sizes={"train": 14436, "validation": 1960, "test": 1906},
            sizes_from="TFDS catalog, aeslc 1.0.0",
        ),
    ),
)
def aeslc(row: Row) -> Fields | None:
    r"""Annotated Enron Subject Line Corpus (aeslc): the subject line of an e-mail.

    Row:    {"email_body": "Rosa,  the plumber comes\nat nine on Friday.\n",
             "subject_line": "Plumber on Friday"}
    Fields: email "Rosa, the plumber comes\nat nine on Friday."; answer "Plumber on Friday".
    """
    email = _text(row["email_body"])
    return _summary_of(row["subject_line"], email, email=email)


@register(
    name="ag_news",
    cluster="summarization",
    title="AG News",
    task_type="generation",
    fields=("description", "topic"),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "ag_news",
            "ag_news_subset",
            "1.0.0",
            validation=None,
            test="test",
            sizes={"train": 120000, "test": 7600},
            sizes_from="TFDS catalog, ag_news_subset 1.0.0",
        ),
    ),
)
def ag_news(row: Row) -> Fields | None:
    """AG News (ag_news_subset): the title of a news story, from its description.

    The paper lists AG News under summarization, so the answer is the title, a headline of
    a few words; the topic, which others classify, only helps to word some templates.
    Entities that lost their ampersand (" #39;", "quot;") and backslashes are repaired, and
    agency and dateline go from both texts.

    Row:    {"title": "Harbour reopens (AP)", "label": 0, "description":
             "AP - The city #39;s harbour reopened on Monday after the storm."}
    Fields: description "The city's harbour reopened on Monday after the storm.",
            topic "world affairs"; answer "Harbour reopens".
    """
    if not 0 <= row["label"] < len(_AG_TOPICS):
        return None
    title, agency = _split_agency(repair_entities(row["title"]))
    description = repair_entities(row["description"])
    if agency:
        description = description.removeprefix(f"{agency} - ")
    description = strip_news_opening(description)
    topic = _AG_TOPICS[row["label"]]
    return _summary_of(title, description, description=description, topic=topic)


def _split_agency(title: str) -> tuple[str, str]:
    """Splits "Oil falls (AP)" into "Oil falls" and "AP"; the title and "" where no agency is named."""
    match = re.fullmatch(r"(.+) \(([A-Z][\w. ]{1,20}|\w+\.com)\)", title)
    if match is None or match[2].startswith("Update"):
        return title, ""
    return match[1], match[2]


@register(
    name="cnn_dailymail",
    cluster="summarization",
    title="CNN/DailyMail",
    task_type="generation",
    fields=("article",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "cnn_dailymail",
            "cnn_dailymail",
            "3.4.0",
            test="test",
            sizes={"train": 287113, "validation": 13368, "test": 11490},
            sizes_from="TFDS catalog, cnn_dailymail 3.4.0",
        ),
    ),
)
def cnn_dailymail(row: Row) -> Fields | None:
    r"""CNN/DailyMail (cnn_dailymail): the highlights that editors put above an article.

    The opening "LONDON, England (CNN) -- " or "By . Jo Bell . PUBLISHED: ..." is dropped.
    Highlights, one a line in TFDS, are joined to one paragraph; the builder puts " ." after
    those without an end mark, and the space before it goes.

    Row:    {"article": "LONDON, England (CNN) -- A rare bird was seen on Monday. ...",
             "highlights": "Rare bird seen in London .\nFirst sighting since 1960 .",
             "id": "1", "publisher": "cnn"}
    Fields: article "A rare bird was seen on Monday. ...",
            answer "Rare bird seen in London. First sighting since 1960."
    """
    article = _text(strip_dateline(squeeze(row["article"])))
    highlights = one_line(re.sub(r" \.(?=\s|$)", ".", row["highlights"]))
    return _summary_of(highlights, article, article=article)


@register(
    name="gigaword",
    cluster="summarization",
    title="Gigaword",
    task_type="generation",
    fields=("sentence",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "gigaword",
            "gigaword",
            "1.2.0",
            test="test",
            sizes={"train": 3803957, "validation": 189651, "test": 1951},
            sizes_from="TFDS catalog, gigaword 1.2.0",
        ),
    ),
)
def gigaword(row: Row) -> Fields | None:
    """Gigaword (gigaword): the headline of a news story, from its first sentence.

    The corpus is lower-case, tokenized, with # for every digit and UNK for rare words.
    Tokenization is undone; rows with an UNK, one in nine, are dropped. Digits stay hidden.

    Row:    {"document": "the storm-hit harbour 's two piers reopened monday , officials said .",
             "summary": "harbour reopens after storm"}
    Fields: sentence "the storm-hit harbour's two piers reopened monday, officials said.",
            answer "harbour reopens after storm".
    """
    if re.search(r"\b(?:UNK|unk)\b", f"{row['document']} {row['summary']}"):
        return None
    sentence = _join_tokens(row["document"])
    return _summary_of(_join_tokens(row["summary"]), sentence, sentence=sentence)


def _join_tokens(text: str) -> str:
    # A hidden digit is no number sign, which `detokenize` would join to the next word.
    text = unescape_entities(text).replace("#", "\x1a")
    text = detokenize(text).replace("\x1a", "#")
    return re.sub(r"(?<=#) - (?=[a-z])", "-", text)  # "## - year-old"


@register(
    name="idebate",
    cluster="summarization",
    title="iDebate",
    task_type="generation",
    fields=("debate", "argument"),
    metrics=("rouge",),
    dev_size=100,
    sources=(
        Source(
            "idebate",
            "opinion_abstracts/idebate",
            "1.0.0",
            validation=None,
            sizes={"train": 2259},
            sizes_from="TFDS catalog, opinion_abstracts/idebate 1.0.0",
        ),
    ),
)
def idebate(row: Row) -> Fields | None:
    """Debates of iDebate.org (opinion_abstracts/idebate): the claim that a debater's sentences argue for.

    Row:    {"_debate_name": "This house would ban cars from city centres", "_claim_id": "7_1",
             "_claim": "Cars make the air unhealthy.",
             "_argument_sentences": {"key": ["0", "1"], "value": ["Exhaust harms lungs.",
                                     "Children suffer most."]}}
    Fields: debate "This house would ban cars from city centres", argument
            "Exhaust harms lungs. Children suffer most."; answer "Cars make the air unhealthy."
    """
    sentences = evenly_cut(row["_argument_sentences"]["value"], TEXT_WORDS)
    argument = " ".join(sentences)
    return _summary_of(
        row["_claim"], argument, debate=one_line(row["_debate_name"]), argument=argument
    )


@register(
    name="multi_news",
    cluster="summarization",
    title="Multi-News",
    task_type="generation",
    fields=("articles",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "multi_news",
            "multi_news",
            "2.1.0",
            test="test",
            sizes={"train": 44972, "validation": 5622, "test": 5622},
            sizes_from="TFDS catalog, multi_news (its page is for 1.0.0, same splits)",
        ),
    ),
)
def multi_news(row: Row) -> Fields | None:
    r"""Multi-News (multi_news): one summary of several articles on the same story.

    "|||||" separates the articles. They get numbers and share 600 words, so that the cut at
    1,023 tokens does not leave the first one alone. Summaries lose newser.com's opening dash.

    Row:    {"document": "Rain fell.\n\nRoads closed. ||||| The mayor spoke.",
             "summary": "– Rain closed roads, and the mayor spoke."}
    Fields: articles "Article 1: Rain fell. Roads closed.\n\nArticle 2: The mayor spoke.",
            answer "Rain closed roads, and the mayor spoke."
    """
    articles = evenly_cut(repair_encoding(row["document"]).split("|||||"), TEXT_WORDS)
    text = "\n\n".join(f"Article {number}: {one}" for number, one in enumerate(articles, 1))
    return _summary_of(repair_encoding(row["summary"]).lstrip(" \n–—-"), text, articles=text)


@register(
    name="newsroom",
    cluster="summarization",
    title="Newsroom",
    task_type="generation",
    fields=("article",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "newsroom",
            "newsroom",
            "1.0.0",
            test="test",
            sizes={"train": 995041, "validation": 108837, "test": 108862},
            sizes_from="TFDS catalog, newsroom 1.0.0",
            manual=(
                "Register at https://summari.es/download/, then put train.jsonl, dev.jsonl and "
                "test.jsonl into TFDS's manual folder (downloads/manual under the data folder)."
            ),
        ),
    ),
)
def newsroom(row: Row) -> Fields | None:
    """Newsroom (newsroom): the summary that a publication put into its page's metadata.

    Datelines go, as in CNN/DailyMail, and so do HTML tags and entities in the summary. The
    title is not used: it would give much of the summary away.

    Row:    {"text": "BERGEN, Norway -- The harbour reopened on Monday. ...", "title": "Harbour",
             "summary": "Ships are back in <b>Bergen</b>.", "url": "", "date": "", ...}
    Fields: article "The harbour reopened on Monday. ...", answer "Ships are back in Bergen."
    """
    article = _text(strip_dateline(squeeze(repair_encoding(row["text"]))))
    summary = strip_tags(unescape_entities(repair_encoding(row["summary"])))
    return _summary_of(summary, article, article=article)


@register(
    name="rotten_tomatoes",
    cluster="summarization",
    title="Rotten Tomatoes",
    task_type="generation",
    fields=("movie", "reviews"),
    metrics=("rouge",),
    dev_size=100,
    sources=(
        Source(
            "rotten_tomatoes",
            "opinion_abstracts/rotten_tomatoes",
            "1.0.0",
            validation=None,
            sizes={"train": 3731},
            sizes_from="TFDS catalog, opinion_abstracts/rotten_tomatoes 1.0.0",
        ),
    ),
)
def rotten_tomatoes(row: Row) -> Fields | None:
    r"""Rotten Tomatoes (opinion_abstracts/rotten_tomatoes): what critics agree on about a film.

    A film can have a hundred reviews; the first 20 are used, 600 words of them in all.

    Row:    {"_movie_name": "The Lighthouse Keeper", "_movie_id": "the_lighthouse_keeper",
             "_critic_consensus": "Slow but <em>lovely</em>.",
             "_critics": {"key": ["0", "1"], "value": ["Takes its time.", "A beauty."]}}
    Fields: movie "The Lighthouse Keeper", reviews "Takes its time.\nA beauty.",
            answer "Slow but lovely."
    """
    reviews = [review for review in map(strip_tags, row["_critics"]["value"]) if review.strip()]
    text = "\n".join(evenly_cut(reviews[:20], TEXT_WORDS))
    consensus = strip_tags(row["_critic_consensus"])
    return _summary_of(consensus, text, movie=one_line(row["_movie_name"]), reviews=text)


@register(
    name="samsum",
    cluster="summarization",
    title="SAMSum",
    task_type="generation",
    fields=("dialogue",),
    metrics=("rouge",),
    sources=(
        Source(
            "samsum",
            "samsum",
            "1.0.0",
            test="test",
            sizes={"train": 14732, "validation": 818, "test": 819},
            sizes_from="TFDS catalog, samsum 1.0.0",
            manual=(
                "Download https://arxiv.org/src/1911.12237v2/anc/corpus.7z, unpack it, and put "
                "train.json, val.json and test.json into TFDS's manual folder."
            ),
        ),
    ),
)
def samsum(row: Row) -> Fields | None:
    r"""SAMSum (samsum): a chat between friends, told in the third person.

    Row:    {"id": "1", "dialogue": "Rosa: coming tonight?\r\nTom: sure, at 8",
             "summary": "Tom will come at 8 tonight."}
    Fields: dialogue "Rosa: coming tonight?\nTom: sure, at 8";
            answer "Tom will come at 8 tonight."
    """
    dialogue = _text(row["dialogue"])
    return _summary_of(row["summary"], dialogue, dialogue=dialogue)


@register(
    name="wiki_lingua",
    cluster="summarization",
    title="WikiLingua",
    task_type="generation",
    fields=("guide",),
    metrics=("rouge",),
    sources=(
        Source(
            "wiki_lingua",
            "gem/wiki_lingua_english_en",
            "1.1.0",
            test="test",
            sizes={"train": 99020, "validation": 13823, "test": 28614},
            sizes_from="TFDS catalog, gem/wiki_lingua_english_en",
        ),
    ),
)
def wiki_lingua(row: Row) -> Fields | None:
    """WikiLingua, English (gem/wiki_lingua_english_en): the steps of a wikiHow guide, in short.

    The guide is the text under its steps; the summary is the steps' own headings, one
    sentence in the imperative for each.

    Row:    {"source": "A dull blade slips. Use a stone. Rinse it and ...", "target":
             "Sharpen the knife. Dry it well.", "references": ["Sharpen the knife. Dry it well."],
             "gem_id": "wiki_lingua_english_en-val-0", "gem_parent_id": "...",
             "source_aligned": {"en": "..."}, "target_aligned": {"en": "..."}}
    Fields: guide "A dull blade slips. Use a stone. Rinse it and ...",
            answer "Sharpen the knife. Dry it well."
    """
    guide = _text(row["source"])
    references = [one_line(text) for text in (row["target"], *row["references"])]
    return free_form(references, guide=guide) if guide else None


@register(
    name="xsum",
    cluster="summarization",
    title="XSum",
    task_type="generation",
    fields=("article",),
    metrics=("rouge",),
    version=2,
    sources=(
        Source(
            "xsum",
            "xsum",
            "1.1.0",
            test="test",
            sizes={"train": 203577, "validation": 11305, "test": 11301},
            sizes_from="TFDS catalog, xsum 1.1.0",
            manual=(
                "Follow https://github.com/EdinburghNLP/XSum/tree/master/XSum-Dataset, then put "
                "xsum-extracts-from-downloads.tar.gz into TFDS's manual folder."
            ),
        ),
    ),
)
def xsum(row: Row) -> Fields | None:
    r"""XSum (xsum): the one sentence that opens a BBC article, from the rest of it.

    Characters that were decoded wrongly ("Â£5") are repaired, LaTeX's quotation marks become
    straight ones, and an opening "22 May 2015 Last updated at 17:40 BST" goes.

    Row:    {"document": "The ferry was to sail at noon.\nIts owner has paid Â£5m for repairs.",
             "summary": "A ferry has been kept in port by engine trouble."}
    Fields: article with "£5m"; answer "A ferry has been kept in port by engine trouble."
    """
    document, summary = (
        straight_quotes(repair_encoding(row[name])) for name in ("document", "summary")
    )
    article = _text(_UPDATED.sub("", document.lstrip()))
    return _summary_of(summary, article, article=article)


_UPDATED = re.compile(r"^\d{1,2} \w+ \d{4} Last updated at \d{1,2}:\d{2}(?: [A-Z]{3})?\s*")
