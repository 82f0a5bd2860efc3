"""Bylines, datelines and agencies before a story."""

import pytest

from flan.catalog.datelines import strip_dateline, strip_news_opening


@pytest.mark.parametrize(
    "opening",
    [
        "(CNN) -- ",
        "(CNN)",
        "(CNN Student News) -- ",
        "(EW.com) -- ",
        "Rome (CNN) ",
        "KABUL, Afghanistan (CNN)",
        "NEW DELHI, India (CNN) -- ",
        "LONDON, England (Reuters) -- ",
        "ON BOARD the Aurora (AP) — ",
        "WASHINGTON -- ",
        "BERGEN, Norway – ",
        "Editor's note: Rosa Vale is a writer. (CNN) -- ",
        "By . Jo Bell . ",
        "By . Jo Bell . and Al Key . PUBLISHED: . 06:37 EST, 2 May 2013 . | . UPDATED: . 12:10 EST, 3 May 2013 . ",
        "By . Associated Press . PUBLISHED: . 06:37 EST, 2 May 2013 . ",
        "By . Jo Bell . Last updated at 9:44 AM on 28th February 2012 . ",
        "By Daily Mail Reporter . Last updated at 7:00 AM on 5th October 2011 . ",
        "PUBLISHED: . 06:37 EST, 2 May 2013 . | . UPDATED: . 07:00 EST, 2 May 2013 . ",
        "By . Jo Bell . UPDATED: . 06:37 EST, 2 May 2013 . ",
        "By . Jo Bell . and Al Key . and Kim Lee . ",
        "By . Dr. No . ",
        "By . Al Key for MailOnline . Follow @@AlKey . ",
        "(Entertainment Weekly) -- ",
        "(CNN) -- (TIME.com) -- ",
    ],
)
def test_bylines_and_datelines_go(opening):
    assert strip_dateline(opening + "A ship sank on Monday.") == "A ship sank on Monday."


@pytest.mark.parametrize(
    "article",
    [
        "The Associated Press (AP) said on Monday that a ship sank.",
        "A sailor (35) -- the youngest on board -- was saved.",
        "NASA -- which runs the station -- said no.",
        "U.S. -- the sign said.",
        "By the time help came, the ship had sunk.",
        "Rosa said (CNN) -- was wrong.",
        "(CNN) -- ",
        "",
    ],
)
def test_other_openings_stay(article):
    assert strip_dateline(article).strip() == article.strip()


@pytest.mark.parametrize(
    "opening",
    [
        "SYDNEY (Dow Jones)--",
        "SEATTLE/NEW YORK (Reuters) - ",
        "BANJA LUKA, Bosnia-Herzegovina (AP) - ",
        "JAKARTA (Antara): ",
        "By JO BELL CARSON CITY, Nev. (AP) -- ",
        "FOXBORO, Mass., (Sports Network) - ",
        "GEORGETOWN, Del., Nov. 18 -- ",
        "BANGKOK, Thailand Sept. 30, 2004 - ",
        "LONDON, November 8 (newratings.com) - ",
        "NEW DELHI, 7 September 2004 - ",
        "12/16/04 -- ",
        "SEPTEMBER 28, 2004 -- London -- ",
        "JACKSONVILLE, Fla. - ",
        "LEICESTER: ",
        "NARATHIWAT, Thailand : ",
        "London - ",
        "Phoenix, AZ -- ",
        "AP - ",
        "Los Angeles Times - ",
    ],
)
def test_news_openings_go(opening):
    assert strip_news_opening(f"{opening}The ship sank.") == "The ship sank."


@pytest.mark.parametrize(
    "story",
    [
        "Sprint (NYSE: FON) will spend more -- Much more.",
        "NASA: Ships sank.",
        "NASA -- which runs the station -- said no.",
        "Coca-Cola Co. said yes.",
        "A few things changed - The price, for one.",
        "May 5 was a holiday.",
        "AP - ",
        "",
    ],
)
def test_other_stories_stay(story):
    assert strip_news_opening(story) == story
