"""Text that was decoded, escaped or exported wrongly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog.encoding import (
    repair_encoding,
    repair_windows_characters,
    unescape_entities,
    unescape_unicode,
)


def misread(text, encoding):
    """The text as somebody sees it who takes its UTF-8 for something else."""
    return "".join(
        bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode("utf-8")
    )


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize(
    "text",
    [
        "£35 million",
        "fiancé",
        "Iraq’s “rota”",
        "да, Мой",
        "50\u00a0GB",
        "€5…",
        "Díaz",
        "\U0001f600 hi",
    ],
)
def test_utf8_read_as_windows_or_latin1_text(text, encoding):
    damaged = misread(text, encoding)
    assert damaged != text
    assert repair_encoding(damaged) == text
    assert repair_encoding(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "CAFÉ… MONTRÉAL” « là\u00a0» und «\u00a0sécurité\u00a0– là »",
        "CÂMARA, SÃO PAULO, ÂGE, pâte, naïf, Ãlvaro, â\u00a0», â€",
        "",
    ],
)
def test_text_that_is_not_damaged_stays(text):
    assert repair_encoding(text) == text


def test_text_misread_twice():
    assert repair_encoding("Ã‚Â£5 for my fiancÃƒÂ©") == "£5 for my fiancé"


def test_soft_hyphens_and_windows_characters():
    assert repair_encoding("Hydro\u00adgen") == "Hydrogen"
    assert repair_encoding("Medi?\u00adter?\u00adranean, why?\u00ad") == "Mediterranean, why?"
    assert repair_encoding("it\x92s") == "it’s"
    assert repair_windows_characters("well\x85 it\x92s 5\x9610 \x81€") == "well… it’s 5–10 €"


def test_entities():
    assert unescape_entities("h &amp; m &gt;Cuba&#39;s & quot;& nbsp;") == "h & m >Cuba's \"\u00a0"
    assert unescape_entities("&amp;quot; I &lt") == '" I <'
    kept = "AT&notes, &notit; a & b; R&D, &nosuch; & Sciences;"
    assert unescape_entities(kept) == kept


def test_unicode_escapes():
    assert unescape_unicode(r"saut\u00e9ed \ud83d\ude00 \ud83d. \u0041") == (
        "sautéed \U0001f600 . \\u0041"
    )
    assert unescape_unicode(r"C:\users") == r"C:\users"


@given(st.text(st.sampled_from("ab Ã©Â£â€™\x80\x99\u00a0\u00ad&;#39ampquot\\u0e9\ud83d\n")))
def test_repairing_twice_changes_nothing_more(text):
    for repair in (repair_encoding, unescape_entities, unescape_unicode):
        assert repair(repair(text)) == repair(text)
