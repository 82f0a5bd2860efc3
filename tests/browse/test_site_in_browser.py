"""The pages in a real browser, opened from the file system."""

import pytest

from flan.browse import write_site

EVIL = "</script></pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

VISIBLE = "return [...document.querySelectorAll('{}')].filter(e => e.offsetParent !== null).length"
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    write_site(out, ["nli", "sentiment", "squad"])
    return out


def visible(browser, css):
    return browser.run(VISIBLE.format(css))


def test_search_finds_datasets(browser, site):
    browser.open((site / "index.html").as_uri())
    assert visible(browser, "[data-name]") == 12
    browser.type("#search", "super_glue/rte")
    assert visible(browser, "[data-name]") == 1
    assert visible(browser, '[data-name="rte"]') == 1
    assert visible(browser, ".cluster") == 1


def test_search_finds_templates_and_leads_to_them(browser, site):
    browser.open((site / "index.html").as_uri())
    browser.type("#search", "unanswerable question")
    hits = browser.run(
        "return [...document.querySelectorAll('#hit-list a')].map(a => a.getAttribute('href'))"
    )
    assert hits
    assert all(hit.startswith("squad.html#t") for hit in hits)
    assert browser.run("return document.querySelectorAll('#hit-list mark').length") > 0
    browser.click("#hit-list a")
    assert browser.run("return document.querySelector('main h1').textContent").startswith("SQuAD")


def test_search_that_finds_nothing_and_is_cleared(browser, site):
    browser.open((site / "index.html").as_uri())
    browser.type("#search", "zzzz")
    assert visible(browser, "[data-name]") == 0
    assert "0 datasets and 0 templates" in browser.run(
        "return document.getElementById('summary').textContent"
    )
    browser.type("#search", "\ue003" * 4)  # backspace
    assert visible(browser, "[data-name]") == 12


def test_markup_typed_into_the_search_box_stays_text(browser, site):
    browser.open((site / "index.html").as_uri())
    browser.type("#search", "<img src=x onerror=alert(1)>")
    assert browser.run("return document.querySelectorAll('img').length") == 0


def test_a_link_can_carry_a_search(browser, site):
    browser.open("about:blank")
    browser.open(f"{(site / 'index.html').as_uri()}#q=imdb")
    assert visible(browser, "[data-name]") == 1


def test_rows_are_switched(browser, site):
    browser.open((site / "rte.html").as_uri())
    first = browser.run("return document.querySelector('#t0 .example:not([hidden])').textContent")
    browser.click('[data-show="1"]')
    second = browser.run("return document.querySelector('#t0 .example:not([hidden])').textContent")
    assert first != second
    assert visible(browser, "#t0 .example") == 1


def test_light_and_dark(browser, site):
    browser.open((site / "rte.html").as_uri())
    colour = "return getComputedStyle(document.body).backgroundColor"
    before = browser.run(colour)
    browser.click("#theme")
    assert browser.run(colour) != before
    browser.click("#theme")
    assert browser.run(colour) == before


def test_loss_is_coloured(browser, site):
    browser.open((site / "rte.html").as_uri())
    style = "return getComputedStyle(document.querySelector('#t0 pre.{}')).backgroundColor"
    assert browser.run(style.format("read")) != browser.run(style.format("learnt"))


@pytest.mark.parametrize("page", ["index.html", "rte.html", "squad.html"])
def test_nothing_is_wider_than_a_phone(browser, site, page):
    browser.resize(390, 844)
    try:
        browser.open((site / page).as_uri())
        assert browser.run(OVERFLOW) <= 0
    finally:
        browser.resize(1280, 900)


def test_a_row_that_holds_a_script_does_nothing(browser, tmp_path, monkeypatch):
    from flan.data.demo_rows import nli

    def generate(rng, count):
        return [
            {"premise": EVIL, "hypothesis": f"{n}{EVIL}", "label": 0, "idx": n}
            for n in range(count)
        ]

    monkeypatch.setitem(nli.GENERATORS, "super_glue/rte", generate)
    write_site(tmp_path, ["rte"])
    browser.open((tmp_path / "rte.html").as_uri())
    assert browser.run("return document.title") == "RTE: FLAN templates"
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.run("return document.scripts.length") == 1
    assert EVIL in browser.run("return document.querySelector('#t0 pre.read').textContent")


def test_the_policy_stops_a_script_that_slipped_through(browser, site, tmp_path):
    page = (site / "rte.html").read_text(encoding="utf-8")
    slipped = (
        "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    )
    (tmp_path / "slipped.html").write_text(
        page.replace("</main>", f"</main>{slipped}"), encoding="utf-8"
    )
    browser.open((tmp_path / "slipped.html").as_uri())
    assert browser.run("return document.title") == "RTE: FLAN templates"
    assert browser.run("return document.querySelectorAll('img').length") == 1
