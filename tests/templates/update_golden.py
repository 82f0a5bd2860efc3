"""Renders the golden rows: `tests/golden/rows/<dataset>.json` -> `tests/golden/<dataset>.txt`.

After a change of templates or `to_fields`, run it, then read the diff as a person would:

    python tests/templates/update_golden.py [dataset ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flan.catalog import EXTRA, Fields, all_datasets, get_dataset
from flan.templates import Rendered, Template, Text, load_templates, render
from flan.templates.renderings import render_example

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NAMES = (*all_datasets(), *EXTRA)


def golden_fields(name: str) -> Fields:
    """Fields of a dataset's golden row."""
    content = json.loads((GOLDEN / "rows" / f"{name}.json").read_text(encoding="utf-8"))
    dataset = get_dataset(name)
    dataset.source(content["source"])  # refuses an unknown one
    fields = dataset.to_fields(content["row"])
    assert fields is not None, f"{name}: to_fields drops the golden row"
    return fields


def golden_text(name: str) -> str:
    """The golden row through every template, the plain form, the baseline and the ablations."""
    dataset, templates, fields = get_dataset(name), load_templates(name), golden_fields(name)
    first = templates.templates[0]
    parts = [f"dataset: {name}\nreferences: {json.dumps(fields.references, ensure_ascii=False)}\n"]
    for template in templates.templates:
        parts.append(_section(f"{template.id} {template.kind}", render(template, fields)))
    baseline = Template(
        "baseline",
        templates.baseline.input,
        Text.parse("{answer}"),
        options=templates.baseline.options,
    )
    parts.append(_section("baseline", render(baseline, fields)))
    for rendering in ("no_template", "dataset_name", "no_options"):
        rendered = render_example(dataset, templates, first, fields, rendering)
        parts.append(_section(f"{first.id} {rendering}", rendered))
    return "\n".join(parts)


def _section(title: str, rendered: Rendered) -> str:
    return f"======== {title}\n{rendered.input}\n-------- target\n{rendered.target}\n"


def main(names: list[str]) -> None:
    for name in names or NAMES:
        (GOLDEN / f"{name}.txt").write_text(golden_text(name), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
