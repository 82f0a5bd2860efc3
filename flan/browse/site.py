"""Writes the pages. Everything from data passes through Jinja's autoescape or JSON.

The pages need no server and no network: styles, script and search index are inside them.
Their content security policy allows that one script and that one style sheet, by hash, so
that even markup that slipped through would not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from flan.browse.collect import DatasetPage, collect
from flan.catalog.registry import get_datasets
from flan.embedded import embedded_json, policy_hash
from flan.progress import progress_bar

_FILES = Path(__file__).parent / "files"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def write_site(
    out_dir: str | Path,
    names: Iterable[str] = ("all", "extra"),
    data_dir: str | Path | None = None,
    num: int = 2,
) -> Path:
    """Writes `index.html` and one page a dataset; returns the index.

    Args:
      out_dir: a folder, made if it is not there; pages in it are replaced.
      names: datasets and clusters.
      data_dir: a TFDS folder with rows to show; demo rows where it has none.
      num: rows of each dataset's first source.

    Raises:
      ValueError: an unknown name, `num` below 1, a name that is no file name, damaged data.
      FileNotFoundError: `data_dir` is not there.
    """
    if num < 1:
        raise ValueError(f"num must be 1 or more, got {num}")
    folder = Path(data_dir).expanduser() if data_dir else None
    if folder and not folder.is_dir():
        raise FileNotFoundError(f"no data folder at {folder}")
    datasets = get_datasets(names)
    for dataset in datasets:
        # `index` is the page of all; some file systems do not tell cases apart.
        if not _SAFE_NAME.fullmatch(dataset.name) or dataset.name.lower() == "index":
            raise ValueError(f"dataset name {dataset.name!r} cannot be the name of a page")
    out = Path(out_dir).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    environment = _environment()
    pages = []
    with progress_bar(len(datasets), "pages", "dataset") as bar:
        for dataset in datasets:
            page = collect(dataset, folder, num)
            pages.append(page)
            _write(out / f"{dataset.name}.html", environment, "dataset.html", page=page)
            bar.update()
    clusters: dict[str, list[DatasetPage]] = {}
    for page in pages:
        clusters.setdefault(page.facts["cluster"], []).append(page)
    index = search_index(pages)
    _write(out / "index.html", environment, "index.html", clusters=clusters, index=index)
    return out / "index.html"


def search_index(pages: Iterable[DatasetPage]) -> list[dict[str, Any]]:
    """What the search box looks through: names, TFDS names, template texts."""
    return [
        {
            "name": page.name,
            "title": page.facts["title"],
            "cluster": page.facts["cluster"],
            "tfds": [source["tfds"] for source in page.facts["sources"]],
            "templates": [
                {
                    "id": phrasing.id,
                    "kind": phrasing.kind,
                    "text": "".join(segment.text for segment in phrasing.source),
                    "options": list(phrasing.options),
                }
                for phrasing in page.phrasings
                if phrasing.kind in ("forward", "inverted")
            ],
        }
        for page in pages
    ]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_FILES / "browse.css").read_text(encoding="utf-8")
    script = (_FILES / "browse.js").read_text(encoding="utf-8")
    # Ours, not from data, and without "</": they go in as they are.
    environment.globals.update(
        style=Markup(style),
        script=Markup(script),
        policy=(
            f"default-src 'none'; style-src '{policy_hash(style)}'; script-src '{policy_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
    )
    environment.filters["embedded_json"] = embedded_json
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    environment.filters["counts"] = _counts
    return environment


def _counts(sizes: dict[str, int]) -> str:
    return ", ".join(f"{split} {rows:,}" for split, rows in sizes.items())


def _write(path: Path, environment: jinja2.Environment, template: str, **values: Any) -> None:
    text = environment.get_template(template).render(**values)
    path.write_text(text, encoding="utf-8")
