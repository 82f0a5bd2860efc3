import json
import re

import pytest

from flan.browse import write_site
from flan.browse.collect import collect
from flan.browse.site import embedded_json
from flan.catalog import get_dataset
from flan.cli.main import main
from flan.templates import load_templates, render

EVIL = "</script></pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    write_site(out, ["nli", "squad"])
    return out


@pytest.fixture
def evil_site(tmp_path, monkeypatch):
    """RTE's demo rows, with markup in every text."""
    from flan.data.demo_rows import nli

    def generate(rng, count):
        return [
            {"premise": f"{n} {EVIL}", "hypothesis": f"{EVIL} {n}", "label": n % 2, "idx": n}
            for n in range(count)
        ]

    monkeypatch.setitem(nli.GENERATORS, "super_glue/rte", generate)
    write_site(tmp_path, ["rte"])
    return tmp_path


def test_one_page_a_dataset(site):
    pages = {path.name for path in site.iterdir()}
    assert pages == {
        f"{n}.html" for n in ("index", "anli", "cb", "mnli", "qnli", "rte", "snli", "squad", "wnli")
    }
    page = (site / "rte.html").read_text(encoding="utf-8")
    assert [f'<article id="t{n}"' in page for n in range(10)] == [True] * 10
    for other in ("baseline", "no_template", "dataset_name", "no_options", "2shot"):
        assert f'<article id="{other}" ' in page


def test_pages_load_nothing(site):
    for path in site.iterdir():
        page = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\b(?:src|srcset)=|<link|@import|url\(|https?://(?!www\.w3\.org)", _without_data(page)
        )


def _without_data(page):
    """The page without texts of rows and docstrings, which may name addresses."""
    page = re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    return re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)


def test_segments_are_the_rendering():
    rte = get_dataset("rte")
    page = collect(rte, None, 2)
    first = page.phrasings[0]
    template = load_templates("rte").get(first.id)
    row = json.loads(page.rows[0][2])
    rendered = render(template, rte.to_fields(row))
    assert "".join(s.text for s in first.examples[0].input) == rendered.input
    assert "".join(s.text for s in first.examples[0].target) == rendered.target
    assert {s.field for s in first.examples[0].input} == {"", "premise", "hypothesis", "options"}


def test_each_source_has_a_row():
    page = collect(get_dataset("squad"), None, 3)
    assert [source for source, _, _ in page.rows] == ["v1", "v1", "v1", "v2"]
    assert all(len(p.examples) == 4 for p in page.phrasings)


def test_markup_in_rows_stays_text(evil_site):
    page = (evil_site / "rte.html").read_text(encoding="utf-8")
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert page.count("<script>") == 1


@pytest.mark.parametrize("text", [EVIL, "<!--", "]]>", "\u2028", "</SCRIPT>", '"\\'])
def test_embedded_json_reads_back_and_ends_nothing(text):
    embedded = str(embedded_json({"text": text}))
    assert json.loads(embedded) == {"text": text}
    assert not set("<>&\u2028") & set(embedded)


def test_mistakes(tmp_path, capsys):
    assert main(["browse", "--out", str(tmp_path), "rtee"]) == 2
    assert "Did you mean 'rte'" in capsys.readouterr().err
    assert main(["browse", "--out", str(tmp_path), "rte", "--num", "0"]) == 2
    assert "num must be 1 or more" in capsys.readouterr().err
    assert main(["browse", "--out", str(tmp_path), "--data_dir", str(tmp_path / "none")]) == 2
    assert "no data folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path, capsys):
    assert main(["browse", "--out", str(tmp_path / "site"), "cb"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "site" / "index.html")


@pytest.mark.real_data
def test_real_rows(tmp_path, real_data):
    write_site(tmp_path, ["cb"], real_data)
    assert "from a TFDS data folder" in (tmp_path / "cb.html").read_text(encoding="utf-8")
