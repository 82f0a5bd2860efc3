"""Measures overlap: evaluation rows against corpora or training rows, and scores without it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan.catalog.registry import get_dataset, get_datasets
from flan.data import atomic
from flan.data.cache_plan import Request
from flan.data.grams import pack
from flan.data.prepare import ensure_prepared
from flan.data.row_cache import RowCache
from flan.data.row_prints import text_of
from flan.evaluation import results
from flan.evaluation.metrics import get_metric
from flan.experiments.contamination import corpus
from flan.experiments.contamination.index import Example, Index, near_duplicates
from flan.progress import progress_bar

FORMAT = "flan-contamination-1"
OVERLAP_FILE, EXAMPLES_FILE, PROGRESS_FILE = "contamination.json", "examples.jsonl", "progress.npz"
Key = tuple[str, str, str]  # dataset, source, split


@dataclasses.dataclass(frozen=True)
class RowFolders:
    """Where rows come from: see `flan.data.cache_plan.Request`."""

    cache_dir: Path
    data_dir: Path | None
    skip_missing: bool = False

    def open(self, datasets: Sequence[str], splits: Sequence[str]) -> dict[Key, RowCache]:
        """(dataset, source, split) -> rows, prepared where they are missing."""
        names = tuple(d.name for d in get_datasets(datasets))
        request = Request(
            names, self.cache_dir, self.data_dir, tuple(splits), skip_missing=self.skip_missing
        )
        prepared = ensure_prepared(request)
        return {key: RowCache.open(path) for key, path in prepared.rows.items()}


def evaluation_examples(rows: Mapping[Key, RowCache]) -> Iterator[Example]:
    """All rows as examples."""
    for (dataset, source, split), cache in rows.items():
        for place, row in enumerate(cache.row_ids.tolist()):
            yield Example(dataset, source, split, row, text_of(cache.fields(place)))


def look_in_rows(index: Index, rows: Mapping[Key, RowCache]) -> None:
    """Looks for the index's grams in rows, training rows say."""
    total = sum(map(len, rows.values()))
    with progress_bar(total, "training rows", "row") as bar:

        def texts() -> Iterator[str]:
            for cache in rows.values():
                for fields in cache:
                    bar.update()
                    yield text_of(fields)

        for block in pack(texts()):
            index.look(block)


def look_in_files(
    index: Index, files: Sequence[Path], field: str = "text", progress: Path | None = None
) -> None:
    """Looks for the index's grams in corpus files.

    Args:
      index: takes what is found.
      files: as `corpus.find_files` gives them.
      field: of JSON lines.
      progress: a file that keeps what the finished files had, so that a run that was
        stopped goes on after them.

    Raises ValueError naming a damaged file.
    """
    names = {path: _name(path, field) for path in files}
    done = _resume(index, progress, set(names.values())) if progress else set()
    sizes = {path: path.stat().st_size for path in files}
    finished = sum(size for path, size in sizes.items() if names[path] in done)
    bar = progress_bar(
        sum(sizes.values()), "corpus", "B", unit_scale=True, unit_divisor=1024, initial=finished
    )
    with bar:
        for path in files:
            if names[path] in done:
                continue
            for block in corpus.blocks(path, field, index.n, bar.update):
                index.look(block)
            done.add(names[path])
            if progress:
                _keep(index, progress, done)


def summarize(index: Index, overlap: np.ndarray) -> dict[str, dict[str, int]]:
    """Dataset -> number of `examples`, `dirty`, `near_duplicates` and `too_short` to tell."""
    found: dict[str, dict[str, int]] = {}
    duplicates = near_duplicates(overlap)
    for example, share, duplicate in zip(index.examples, overlap, duplicates, strict=True):
        line = found.setdefault(
            example.dataset, dict.fromkeys(("examples", "dirty", "near_duplicates", "too_short"), 0)
        )
        line["examples"] += 1
        line["too_short"] += int(np.isnan(share))
        line["dirty"] += int(share > 0)
        line["near_duplicates"] += int(duplicate)
    return found


def subset_scores(
    results_dir: Path, index: Index, overlap: np.ndarray
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Scores of all, clean and dirty rows, from predictions that `flan eval` has left.

    Returns:
      `checkpoint, mode` -> dataset -> `all`, `clean`, `dirty` (main metric's mean over
      templates and sources, where the subset has rows) and `clean_rows`, `dirty_rows`.

    Raises ValueError or FileNotFoundError for a results folder that is none.
    """
    dirty = {
        (e.dataset, e.source, e.split, e.row): bool(share > 0)
        for e, share in zip(index.examples, overlap, strict=True)
    }
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for cell in results.load_cells(results_dir):
        if cell.id.split != "test":
            continue
        where = (cell.id.dataset, cell.id.source, cell.id.split)
        rows = results.read_predictions(cell.id.path(results_dir))
        known = [r for r in rows if (*where, r["row"]) in dirty]
        mark = ", seen in training" if cell.details.get("training") == "seen" else ""
        key = (f"{cell.id.checkpoint}, {cell.id.mode}{mark}", cell.id.dataset)
        parts = {
            "all": known,
            "clean": [r for r in known if not dirty[(*where, r["row"])]],
            "dirty": [r for r in known if dirty[(*where, r["row"])]],
        }
        for name, part in parts.items():
            if part:
                values.setdefault(key, {}).setdefault(name, []).append(_score(cell, part))
            most = counts.setdefault(key, {}).get(f"{name}_rows:{cell.id.source}", 0)
            counts[key][f"{name}_rows:{cell.id.source}"] = max(most, len(part))
    found: dict[str, dict[str, dict[str, float | int]]] = {}
    for (label, dataset), by_part in values.items():
        scored: dict[str, float | int] = {k: float(np.mean(v)) for k, v in by_part.items()}
        for subset in ("clean", "dirty"):
            of = counts[label, dataset].items()
            scored[f"{subset}_rows"] = sum(n for k, n in of if k.startswith(f"{subset}_rows:"))
        found.setdefault(label, {})[dataset] = scored
    return found


def write(
    out: Path,
    index: Index,
    overlap: np.ndarray,
    against: Sequence[str],
    scores: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Writes `contamination.json` and `examples.jsonl`; returns the former's content."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "dataset": e.dataset,
                "source": e.source,
                "split": e.split,
                "row": e.row,
                "overlap": None if np.isnan(share) else round(float(share), 4),
            }
        )
        + "\n"
        for e, share in zip(index.examples, overlap, strict=True)
    ]
    atomic.write_file(out / EXAMPLES_FILE, "".join(lines).encode())
    content = {
        "format": FORMAT,
        "n": index.n,
        "against": list(against),
        "datasets": summarize(index, overlap),
        "scores": scores or {},
    }
    atomic.write_json(out / OVERLAP_FILE, content)
    return content


def _score(cell: results.Cell, rows: Sequence[Mapping[str, Any]]) -> float:
    """The cell's main metric on some of its rows."""
    metric = get_metric(get_dataset(cell.id.dataset).metrics[0])
    if metric.takes == "label":
        found = metric.function([r["label"] for r in rows], [r["choice"] for r in rows])
    else:
        targets = [
            r["references"][:1] if metric.takes == "number" else r["references"] for r in rows
        ]
        found = metric.function(targets, [r["prediction"] for r in rows])
    return found[metric.main]


def _name(path: Path, field: str) -> str:
    """A file as progress knows it: another size, time of writing or field is another file."""
    stat = path.stat()
    text = f"{path.resolve()}\x1f{stat.st_size}\x1f{stat.st_mtime_ns}\x1f{field}"
    return hashlib.sha256(text.encode()).hexdigest()


def _keep(index: Index, path: Path, done: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    arrays = {f"found_{k}": np.packbits(v) for k, v in index.found.items()}
    names = np.array([index.fingerprint, *sorted(done)])
    np.savez(content, names=names, **arrays)  # type: ignore[arg-type]
    atomic.write_file(path, content.getvalue())


def _resume(index: Index, path: Path, files: set[str]) -> set[str]:
    """Takes up what earlier files had; nothing where progress is of other examples, or damaged.

    Nor where any of it comes of another file: what was found is not told apart by files, and
    would be said to be in these.
    """
    if not path.is_file():
        return set()
    try:
        with np.load(path, allow_pickle=False) as stored:
            fingerprint, *done = stored["names"].tolist()
            if fingerprint != index.fingerprint or not files.issuperset(done):
                return set()
            for length, found in index.found.items():
                bits = np.unpackbits(stored[f"found_{length}"], count=len(found))
                index.found[length] = bits.astype(bool)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return set()
    return set(done)
