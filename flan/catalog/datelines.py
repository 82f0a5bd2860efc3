"""What stands before a news story's first sentence: byline, date, place and agency."""

from __future__ import annotations

import re

_DASH = r"(?:-{1,3}|–|—)"
_PLACE = r"[A-Z][\w.'’-]*,?(?: (?:[A-Z][\w.'’-]*|of|the|de|on|off|at|in|near|and),?){0,5}"
_CLOCK = r"\d{1,2}:\d{2} [A-Z]{3}, \d{1,2} \w+ \d{4}"
_OPENINGS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        # Daily Mail: "By . Jo Bell . and Al Key . Follow @@AlKey . ", "By Daily Mail Reporter . "
        r"By (?:\. )?.{2,160}?(?=(?:PUBLISHED|UPDATED): \. |Last updated at )",
        r"By \. .{2,60}? \. (?:and .{2,60}? \. )*",
        r"Follow @+\w+ \. ",
        # "PUBLISHED: . 06:37 EST, 2 May 2013 . | . UPDATED: . 12:10 EST, 3 May 2013 . "
        rf"(?:\| \. )?(?:PUBLISHED|UPDATED): \. {_CLOCK} \. (?:\| \. )?",
        r"Last updated at \d{1,2}:\d{2} [AP]M on \d{1,2}[a-z]{2} \w+ \d{4} \. ",
        # CNN: a note from the editor before the article proper.
        rf"Editor['’]s note: .{{0,800}}?\(CNN\) ?{_DASH}\s*",
        # "(CNN) -- ", "(CNN)A ship", "Rome (CNN) Italy is", "LONDON, England (CNN) -- "
        rf"(?:{_PLACE} )?\(CNN(?: [A-Z][\w ]{{0,20}})?\)\s*(?:{_DASH} ?)*",
        rf"(?:{_PLACE} )?\((?:Reuters|AP|AFP)\) ?{_DASH} ?",
        r"\([A-Z][^()]{1,40}\) ?(?:--|–|—) ?",
        r"[A-Z]{3}[A-Z .'-]*(?:, [A-Z][\w. ]{2,30})? (?:--|–|—) (?=[\"“]?[A-Z])",
    )
)


def strip_dateline(article: str) -> str:
    """The article without the byline and dateline it opens with.

    "LONDON, England (Reuters) -- Shares rose." -> "Shares rose." A text that opens
    otherwise is returned as it is, brackets and dashes in its first sentence included.
    """
    return _strip(article, _OPENINGS)


_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[A-Za-z]*\.?"
_DATE = rf"(?:{_MONTH} \d{{1,2}}(?:, \d{{4}})?|\d{{1,2}} {_MONTH} \d{{4}}|\d\d?/\d\d?/\d{{2,4}})\.?"
_NAME = r"[A-Z][\w.'/&-]*(?: [A-Z][\w.'/&-]*){0,2}"
_AGENCY = r"\([\w .,/&]{2,30}\)"
# The story begins with a capital, a number or a quotation, so that "NASA -- which" stays.
_BEGINS = r"(?=[\"']?[A-Z\d$])"
_RULE = r"(?: --? ?|-- ?)"
_NEWS_OPENINGS = tuple(
    re.compile(f"{pattern}{_BEGINS}")
    for pattern in (
        # "SYDNEY (Dow Jones)--", "JAKARTA (Antara): ", "By JO BELL NEW YORK (AP) - "
        rf"(?:[A-Z][\w.,/' -]{{1,60}} )?{_AGENCY}(?:{_RULE}|: )",
        # "NEW YORK, Sept. 23 -- ", "BANGKOK, Thailand Sept. 30, 2004 - ", "12/16/04 -- "
        rf"(?:{_NAME}(?:, {_NAME})?,? )?{_DATE}(?:{_RULE}|: )",
        # "JACKSONVILLE, Fla. - ", "SINGAPORE : ", "GAZA CITY: "; not "NASA: "
        rf"[A-Z]{{3}}[A-Z .'/-]*(?:, {_NAME})?{_RULE}",
        rf"[A-Z]{{5}}[A-Z .'/-]*(?:, {_NAME})? ?: ",
        # "AP - ", "Phoenix, AZ -- ", "Los Angeles Times - "
        rf"{_NAME}(?:, {_NAME})? --? ",
    )
)


def strip_news_opening(story: str) -> str:
    """As `strip_dateline`, for the short stories of AG News, which open in more ways.

    "GEORGETOWN, Del., Nov. 18 -- Shares rose." and "AP - Shares rose." -> "Shares rose."
    """
    return _strip(story, _NEWS_OPENINGS)


def _strip(text: str, openings: tuple[re.Pattern[str], ...]) -> str:
    """The text without any of the openings, unless nothing else would be left."""
    for _ in range(len(text)):
        match = next(filter(None, (opening.match(text) for opening in openings)), None)
        rest = text[match.end() :].lstrip() if match else ""
        if not rest or not match or not match.end():
            break
        text = rest
    return text
