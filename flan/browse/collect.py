"""What the pages show, as plain values: facts, templates, and rows rendered through them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Dataset, Fields
from flan.data.doctor import diagnose_source
from flan.data.example_rows import ExampleRow, demo_examples, disk_examples
from flan.data.listing import describe_dataset
from flan.templates.exemplars import ExemplarPool
from flan.templates.load import TemplateSet, load_templates
from flan.templates.renderings import render_example
from flan.templates.template import Rendered, Template, Text, render

# Rows to look through for ones that `to_fields` keeps, and to draw few-shot exemplars from.
CANDIDATES = 60
SHOTS = 2


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a text: what the template says (`field` empty), or what a field holds."""

    text: str
    field: str = ""


@dataclasses.dataclass(frozen=True)
class Example:
    """One row through one phrasing.

    Attributes:
      row: which of the dataset's rows, from 0.
      input: what the model reads; no loss.
      target: what it learns to write; loss.
    """

    row: int
    input: tuple[Segment, ...]
    target: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True)
class Phrasing:
    """A template or another way to render the dataset.

    Attributes:
      id: `t3`, `no_template`, `baseline`, ...; unique on its page.
      kind: `forward`, `inverted`, `baseline` or `ablation`.
      source: the text with its fields' names, and the target likewise; empty for ablations.
      options: verbalizers of its own.
      examples: one for each row.
    """

    id: str
    kind: str
    source: tuple[Segment, ...]
    target: tuple[Segment, ...]
    options: tuple[str, ...]
    examples: tuple[Example, ...]


@dataclasses.dataclass(frozen=True)
class DatasetPage:
    """All that the page of one dataset shows.

    Attributes:
      facts: as `flan datasets --json` gives them.
      description: the docstring of `to_fields`.
      origin: where the rows are from, in words.
      rows: (source, row id, the raw row as JSON) of each row.
      phrasings: templates first.
    """

    facts: Mapping[str, Any]
    description: str
    fields: tuple[str, ...]
    options: tuple[str, ...]
    origin: str
    rows: tuple[tuple[str, int, str], ...]
    phrasings: tuple[Phrasing, ...]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.facts["dataset"]


def collect(dataset: Dataset, data_dir: Path | None, num: int) -> DatasetPage:
    """Gathers a dataset's page.

    Args:
      dataset: the catalog entry.
      data_dir: a TFDS folder; a dataset that is not ready there, or None, gets demo rows.
      num: rows of the first source; each other source adds one.
    """
    templates = load_templates(dataset.name)
    rows, pool, origin = _rows(dataset, data_dir, num)
    return DatasetPage(
        facts=describe_dataset(dataset, data_dir),
        description=dataset.description,
        fields=dataset.fields,
        options=dataset.options,
        origin=origin,
        rows=tuple((r.source, r.row_id, _json(r)) for r in rows),
        phrasings=tuple(_phrasings(dataset, templates, rows, pool)),
    )


def _json(example: ExampleRow) -> str:
    return json.dumps(example.row, indent=2, ensure_ascii=False, default=str)


def _rows(
    dataset: Dataset, data_dir: Path | None, num: int
) -> tuple[list[ExampleRow], ExemplarPool | None, str]:
    chosen: list[ExampleRow] = []
    pool: list[Fields] = []
    origins: dict[str, None] = {}
    for place, source in enumerate(dataset.sources):
        if data_dir and diagnose_source(data_dir, dataset, source).state == "ready":
            split = "train" if source.train else "test"
            found = disk_examples(data_dir, dataset, source, split, CANDIDATES)
            origins["a TFDS data folder"] = None
        else:
            found = demo_examples(dataset, CANDIDATES, source=source)
            origins["the demo generators"] = None
        kept = [row for row in found if row.fields is not None]
        chosen += kept[: num if place == 0 else 1]
        pool += [row.fields for row in kept if row.fields is not None and source.train]
    return chosen, ExemplarPool(dataset, pool) if pool else None, " and ".join(origins)


def _phrasings(
    dataset: Dataset, templates: TemplateSet, rows: list[ExampleRow], pool: ExemplarPool | None
) -> list[Phrasing]:
    baseline = Template(
        "baseline",
        templates.baseline.input,
        Text.parse("{answer}"),
        options=templates.baseline.options,
    )
    first = templates.templates[0]
    found = [_phrasing(t, t.kind, rows) for t in templates.templates]
    found.append(_phrasing(baseline, "baseline", rows))
    for name in ("no_template", "dataset_name", "no_options", f"{SHOTS}shot"):
        if name == "no_options" and "options" not in first.input.names:
            continue
        examples = []
        for place, row in enumerate(rows):
            assert row.fields is not None
            exemplars: tuple[Fields, ...] = ()
            if name.endswith("shot") and pool:
                exemplars = pool.draw(row.fields, row.row_id, SHOTS)
            rendered = render_example(dataset, templates, first, row.fields, name, exemplars)
            examples.append(_plain(place, rendered))
        found.append(Phrasing(name, "ablation", (), (), (), tuple(examples)))
    return found


def _phrasing(template: Template, kind: str, rows: list[ExampleRow]) -> Phrasing:
    examples = []
    for place, row in enumerate(rows):
        assert row.fields is not None
        rendered = render(template, row.fields)
        filled = _fill(template.input, template, row.fields)
        target = _fill(template.target, template, row.fields)
        assert "".join(s.text for s in filled) == rendered.input
        assert "".join(s.text for s in target) == rendered.target
        examples.append(Example(place, filled, target))
    return Phrasing(
        template.id,
        kind,
        _source(template.input),
        _source(template.target),
        template.options,
        tuple(examples),
    )


def _source(text: Text) -> tuple[Segment, ...]:
    return tuple(
        Segment(f"{{{piece}}}", piece) if place % 2 else Segment(piece)
        for place, piece in enumerate(text.pieces)
        if piece
    )


def _fill(text: Text, template: Template, fields: Fields) -> tuple[Segment, ...]:
    """The text's pieces with what their holes render to, one by one."""
    one_hole = {
        name: render(dataclasses.replace(template, input=Text(("", name, ""))), fields).input
        for name in text.names
    }
    return tuple(
        Segment(one_hole[piece], piece) if place % 2 else Segment(piece)
        for place, piece in enumerate(text.pieces)
        if piece
    )


def _plain(place: int, rendered: Rendered) -> Example:
    return Example(place, (Segment(rendered.input),), (Segment(rendered.target),))
