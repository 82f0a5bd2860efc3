"""Prepares caches: TFDS rows -> fields -> rendered and tokenized examples.

Rows first, a job for each source and split, then tokens, a job for each shard of a token
cache; both by worker processes. What is there is kept, so that running again after a kill
does the rest. Nobody has to call this by hand: whoever needs caches calls
`ensure_prepared`, which makes what is missing in a process of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from flan.catalog.registry import get_dataset
from flan.data.cache import TaskCache
from flan.data.cache_lock import preparing
from flan.data.cache_plan import Request, RowsItem, TokensItem, plan_rows, plan_tokens
from flan.data.phrasing import option_sets
from flan.data.prepare_jobs import rows_job, tokens_job, writer_of
from flan.data.row_cache import RowCache
from flan.data.vocabulary import check_round_trip, load_vocabulary
from flan.data.workers import default_workers, run_jobs
from flan.progress import progress_bar

_WORTH_WORKERS = 20_000  # rows and examples below which starting processes takes longer


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Where the caches of a request lie.

    Attributes:
      rows: (dataset, source, split) -> folder of a row cache.
      tokens: (dataset, source) -> folder of a token cache.
      missing: (dataset, source) -> why it was left out.
    """

    rows: dict[tuple[str, str, str], Path]
    tokens: dict[tuple[str, str], Path]
    missing: dict[tuple[str, str], str]

    @classmethod
    def of(
        cls,
        rows: Iterable[RowsItem],
        tokens: Iterable[TokensItem],
        missing: dict[tuple[str, str], str],
    ) -> Prepared:
        """What was planned, once it is done."""
        return cls(
            {(i.dataset, i.source, i.split): i.path for i in rows},
            {(i.dataset, i.source): i.path for i in tokens},
            missing,
        )

    def open_tokens(self) -> dict[str, list[TaskCache]]:
        """Dataset -> token caches of its sources; an empty list where it has no train rows."""
        opened: dict[str, list[TaskCache]] = {dataset: [] for dataset, _, _ in self.rows}
        for (dataset, _), path in self.tokens.items():
            opened[dataset].append(TaskCache.open(path))
        return opened

    def open_rows(self, dataset: str, split: str) -> dict[str, RowCache]:
        """Source -> row cache of a dataset's split."""
        return {
            source: RowCache.open(path)
            for (name, source, its_split), path in self.rows.items()
            if (name, its_split) == (dataset, split)
        }


def prepare(request: Request, workers: int | None = None) -> Prepared:
    """Makes the caches of a request that are not there, showing progress.

    Args:
      workers: processes at work; by default one for each CPU, or none for little work.

    Raises:
      FileNotFoundError: no data folder, no vocabulary.
      UnusableSource: a source is not there, and the request does not skip such.
      ValueError: unknown names; a vocabulary that loses line ends or confuses options; a
        row that a dataset's `to_fields` or a template fails on.
      OSError: a full disk, say. No half-written cache is left; what is finished is kept.
    """
    rows, missing = plan_rows(request)
    with preparing(request.cache_dir):
        _prepare_rows(request, rows, workers)
        tokens = plan_tokens(request, rows)
        if any(not item.done for item in tokens):
            check_vocabulary(request, [item.dataset for item in tokens])
            _prepare_tokens(request, tokens, workers)
    return Prepared.of(rows, tokens, missing)


def find_prepared(request: Request) -> Prepared | None:
    """The caches of a request if all are there; None if one is missing.

    Raises what `prepare` raises before it starts to work.
    """
    rows, missing = plan_rows(request)
    if not all(item.done for item in rows):
        return None
    tokens = plan_tokens(request, rows)
    return Prepared.of(rows, tokens, missing) if all(item.done for item in tokens) else None


def ensure_prepared(request: Request, workers: int | None = None) -> Prepared:
    """The caches of a request; what is missing is made first, in a process of its own.

    Datasets that only this process knows (registered by a user's own module) are prepared
    here. Raises what `prepare` raises.
    """
    if found := find_prepared(request):
        return found
    rows, _ = plan_rows(request)
    if any(not is_shipped(item) for item in rows):
        return prepare(request, workers=1)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "flan.cli.main", "prepare", *arguments(request)]
        command += ["--result", str(result)]
        if workers is not None:
            command += ["--workers", str(workers)]
        # 2, not sys.stderr: in a notebook that is no file.
        code = subprocess.run(command, stdout=2, check=False).returncode
        answer = json.loads(result.read_text()) if result.is_file() else {}
    if "error" in answer:
        raise ValueError(answer["error"])
    if code or not (found := find_prepared(request)):
        raise OSError(
            f"`flan prepare` ended with exit code {code}; run it by hand to see why: "
            f"flan prepare {' '.join(arguments(request))}"
        )
    return found


def arguments(request: Request) -> list[str]:
    """A request as flags of `flan prepare`."""
    flags = ["--datasets", ",".join(request.datasets), "--splits", ",".join(request.splits)]
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if field.name in ("datasets", "splits") or value is None or value is False:
            continue
        flags += [f"--{field.name}"] if value is True else [f"--{field.name}", str(value)]
    return flags


def _prepare_rows(request: Request, items: Sequence[RowsItem], workers: int | None) -> None:
    todo = [item for item in items if not item.done]
    if not todo:
        return
    jobs = [functools.partial(rows_job, request, item) for item in todo]
    total = sum(item.size for item in todo)
    with progress_bar(total, "rows", "row") as bar:
        for count in run_jobs(jobs, _workers(workers, total, todo)):
            bar.update(count)


def check_vocabulary(request: Request, datasets: Iterable[str]) -> None:
    """Refuses a vocabulary that cannot tell the answers of a dataset apart (ValueError)."""
    assert request.vocabulary is not None
    options = option_sets(dict.fromkeys(datasets))
    try:
        check_round_trip(load_vocabulary(request.vocabulary), options)
    except ValueError as error:
        raise ValueError(f"{request.vocabulary}: {error}") from None


def _prepare_tokens(request: Request, items: Sequence[TokensItem], workers: int | None) -> None:
    todo = [item for item in items if not item.done]
    writers = {item.path: writer_of(item) for item in todo}
    work = [(item, shard) for item in todo for shard in writers[item.path].missing()]
    jobs = [functools.partial(tokens_job, request, item, shard) for item, shard in work]
    left = {item.path: len(writers[item.path].missing()) for item in todo}
    total = sum(len(shard) for writer in writers.values() for shard in writer.shards)
    new = sum(len(writers[item.path].shards[shard]) for item, shard in work)
    for path, count in left.items():
        if not count:
            writers[path].finish()
    with progress_bar(total, "tokens", "example", initial=total - new) as bar:
        for path, count in run_jobs(jobs, _workers(workers, new, todo)):
            bar.update(count)
            left[path] -= 1
            if not left[path]:
                writers[path].finish()


def _workers(asked: int | None, work: int, items: Sequence[RowsItem | TokensItem]) -> int:
    if any(not is_shipped(item) for item in items):
        return 1
    if asked is not None:
        return asked
    return default_workers() if work >= _WORTH_WORKERS else 1


def is_shipped(item: RowsItem | TokensItem) -> bool:
    """Whether a fresh process knows the dataset."""
    return get_dataset(item.dataset).to_fields.__module__.startswith("flan.catalog.")
