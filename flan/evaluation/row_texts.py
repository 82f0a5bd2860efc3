"""What evaluated rows say, once for all checkpoints and templates, for people to read.

    <out>/_rows/<dataset>/<source>/<split>.jsonl    `row`, `text` of each row

No checkpoint can be called `_rows`.
"""

from __future__ import annotations

import json
from pathlib import Path

from flan.data import atomic
from flan.data.row_prints import text_of
from flan.evaluation.rows import Rows

FOLDER = "_rows"
_MOST = 1_500  # characters


def write_texts(out_dir: Path, dataset: str, source: str, split: str, rows: Rows) -> None:
    """Writes the texts of rows, those over `_MOST` cut; rows that are there already stay."""
    path = out_dir / FOLDER / dataset / source / f"{split}.jsonl"
    texts = read_texts(out_dir, dataset, source, split)
    if texts.keys() >= set(rows.ids):
        return
    for row, fields in zip(rows.ids, rows.examples, strict=True):
        text = text_of(fields)
        texts[row] = text if len(text) <= _MOST else f"{text[:_MOST]} …"
    lines = [json.dumps({"row": r, "text": texts[r]}, ensure_ascii=False) for r in sorted(texts)]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(path, "".join(f"{line}\n" for line in lines).encode())


def read_texts(out_dir: Path, dataset: str, source: str, split: str) -> dict[int, str]:
    """Row -> text; nothing where there are none, or they are damaged."""
    path = out_dir / FOLDER / dataset / source / f"{split}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        found = [json.loads(line) for line in lines if line]
        return {int(line["row"]): str(line["text"]) for line in found}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
