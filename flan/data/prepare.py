"""Prepares caches: TFDS rows -> fields -> rendered and tokenized examples.

Worker processes do a source's split or a shard of a token cache at a time. What is there
is kept, so that running again after a kill does the rest. Nobody has to call this by hand: whoever needs caches calls
`ensure_prepared`, which makes what is missing in a process of its own.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from flan.catalog.registry import get_dataset
from flan.data.cache import TaskCache, TaskCacheWriter
from flan.data.cache_lock import preparing
from flan.data.cache_plan import Request, RowsItem, TokensItem, plan_rows, plan_tokens
from flan.data.phrasing import option_sets
from flan.data.prepare_jobs import rows_job, tokens_job, writer_of
from flan.data.row_cache import RowCache
from flan.data.vocabulary import check_round_trip, load_vocabulary
from flan.data.workers import Workers, default_workers
from flan.progress import progress_bar

_JOBS = "flan.data.prepare_jobs"  # what worker processes import
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
        with ThreadPoolExecutor() as threads:  # checksums are worked out without the interpreter
            caches = list(threads.map(TaskCache.open, self.tokens.values()))
        for (dataset, _), cache in zip(self.tokens, caches, strict=True):
            opened[dataset].append(cache)
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
        tokens = _done_tokens(request, rows)
        if tokens is None:
            known = {get_dataset(item.dataset).to_fields.__module__ for item in rows}
            # Their processes start while the vocabulary is looked at.
            with Workers(_count(request, rows, workers), [_JOBS, *sorted(known)]) as processes:
                if request.vocabulary is not None:
                    check_vocabulary(request, [i.dataset for i in rows if i.split == "train"])
                tokens = _Preparation(request, rows, processes).run()
    return Prepared.of(rows, tokens, missing)


def find_prepared(request: Request) -> Prepared | None:
    """The caches of a request if all are there; None if one is missing.

    Raises what `prepare` raises before it starts to work.
    """
    rows, missing = plan_rows(request)
    tokens = _done_tokens(request, rows)
    return None if tokens is None else Prepared.of(rows, tokens, missing)


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
        command.append(f"--result={result}")
        if workers is not None:
            command.append(f"--workers={workers}")
        # 2, not sys.stderr: in a notebook that is no file.
        code = subprocess.run(command, stdout=2, check=False).returncode
        answer = json.loads(result.read_text()) if result.is_file() else {}
    if "error" in answer:
        raise ValueError(answer["error"])
    if code or not (found := find_prepared(request)):
        raise OSError(
            f"`flan prepare` ended with exit code {code}; run it by hand to see why: "
            f"flan prepare {shlex.join(arguments(request))}"
        )
    return found


def arguments(request: Request) -> list[str]:
    """A request as flags of `flan prepare`."""
    # Name and value in one word, since a value may begin with a dash.
    flags = [f"--datasets={','.join(request.datasets)}", f"--splits={','.join(request.splits)}"]
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if field.name in ("datasets", "splits") or value is None or value is False:
            continue
        flags.append(f"--{field.name}" if value is True else f"--{field.name}={value}")
    return flags


class _Preparation:
    """Makes what is missing: rows first, and a dataset's tokens once its training rows are there.

    Rows are a job for each source and split, tokens one for each shard of a token cache. All
    wait in one queue, so that no process is idle while another one finishes.
    """

    def __init__(self, request: Request, rows: Sequence[RowsItem], workers: Workers):
        self._request, self._rows, self._workers = request, rows, workers
        self._train: dict[str, list[RowsItem]] = {}
        for item in rows:
            if item.split == "train" and request.vocabulary is not None:
                self._train.setdefault(item.dataset, []).append(item)
        self._rows_left: collections.Counter[str] = collections.Counter()
        self._shards_left: dict[Path, int] = {}
        self._planned: dict[str, list[TokensItem]] = {}
        self._bars: dict[str, tqdm] = {}

    def run(self) -> list[TokensItem]:
        """Does it; returns the token caches."""
        try:
            # The longest first: at the end, the short ones fill the gaps.
            todo = [item for item in self._rows if not item.done]
            if todo:
                self._show("rows", "row", sum(item.size for item in todo))
            for item in sorted(todo, key=lambda item: -item.size):
                self._rows_left[item.dataset] += item.split == "train"
                job = functools.partial(rows_job, self._request, item)
                self._workers.add(job, functools.partial(self._rows_done, item))
            for dataset in self._train:
                if not self._rows_left[dataset]:
                    self._add_tokens(dataset)
            self._workers.run()
        finally:
            for bar in self._bars.values():
                bar.close()
        return [item for dataset in self._train for item in self._planned[dataset]]

    def _rows_done(self, item: RowsItem, count: int) -> None:
        self._bars["rows"].update(count)
        if item.split == "train":
            self._rows_left[item.dataset] -= 1
            if item.dataset in self._train and not self._rows_left[item.dataset]:
                self._add_tokens(item.dataset)

    def _add_tokens(self, dataset: str) -> None:
        items = plan_tokens(self._request, self._train[dataset])
        self._planned[dataset] = items
        for item in items:
            writer = writer_of(item)
            if item.done:
                writer.clean()
                continue
            missing = writer.missing()
            new = sum(len(writer.shards[shard]) for shard in missing)
            total = sum(map(len, writer.shards))
            self._show("tokens", "example", total, total - new)
            self._shards_left[item.path] = len(missing)
            for shard in missing:
                job = functools.partial(tokens_job, self._request, item, shard)
                self._workers.add(job, functools.partial(self._shard_done, writer))
            if not missing:
                writer.finish()

    def _shard_done(self, writer: TaskCacheWriter, result: tuple[Path, int]) -> None:
        path, count = result
        self._bars["tokens"].update(count)
        self._shards_left[path] -= 1
        if not self._shards_left[path]:
            writer.finish()

    def _show(self, name: str, unit: str, more: int, done: int = 0) -> None:
        """Adds to what a bar expects."""
        if name not in self._bars:
            self._bars[name] = progress_bar(more, name, unit, initial=done)
        else:
            self._bars[name].total += more
            self._bars[name].update(done)


def check_vocabulary(request: Request, datasets: Iterable[str]) -> None:
    """Refuses a vocabulary that cannot tell the answers of a dataset apart (ValueError)."""
    assert request.vocabulary is not None
    options = option_sets(dict.fromkeys(datasets))
    try:
        check_round_trip(load_vocabulary(request.vocabulary), options)
    except ValueError as error:
        raise ValueError(f"{request.vocabulary}: {error}") from None


def _done_tokens(request: Request, rows: Sequence[RowsItem]) -> list[TokensItem] | None:
    """The token caches of a request if they and the row caches are all there."""
    if not all(item.done for item in rows):
        return None
    tokens = plan_tokens(request, rows)
    return tokens if all(item.done for item in tokens) else None


def _count(request: Request, rows: Sequence[RowsItem], asked: int | None) -> int:
    """How many processes are worth their start."""
    if not all(map(is_shipped, rows)):
        return 1
    if asked is not None:
        return asked
    work = sum(item.size for item in rows if not item.done)
    if request.vocabulary is not None:
        work += request.epochs * sum(item.size for item in rows if item.split == "train")
    return default_workers() if work >= _WORTH_WORKERS else 1


def is_shipped(item: RowsItem | TokensItem) -> bool:
    """Whether a fresh process knows the dataset."""
    return get_dataset(item.dataset).to_fields.__module__.startswith("flan.catalog.")
