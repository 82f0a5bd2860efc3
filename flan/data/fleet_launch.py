"""Starts a preparation on a fleet and sees it through: lock, checks, progress, errors."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from flan import folders
from flan.catalog.registry import get_dataset
from flan.data import atomic
from flan.data.cache_lock import DISK_FULL, preparing
from flan.data.cache_plan import Request, RowsItem, TokensItem, plan_rows, plan_tokens
from flan.data.code_fingerprint import module_of
from flan.data.fleet import REPORT, Orders, phrasing_key
from flan.data.fleet_progress import shown_progress
from flan.data.prepare import Prepared, check_vocabulary, is_shipped
from flan.data.prepare_jobs import writer_of

_MOST_ERRORS = 10  # distinct ones that are shown
_MOST_TEXT = 500  # characters of the runner's own
_PATIENCE_S = 90.0  # network file systems may show a new file a minute late


def prepare_on_fleet(
    request: Request, run: Callable[[Orders, Sequence[RowsItem]], object]
) -> Prepared:
    """Makes the caches of a request that are not there, showing progress.

    Args:
      run: has the steps of a `FleetWorker` done by some machines: `rows` of every split,
        then `plan` of every dataset, then `tokens` of every shard, then `finish` of every
        cache. Comes back when all are done; raises whatever it likes if one failed.

    Raises what `flan.data.prepare.prepare` raises; OSError where machines failed otherwise.
    """
    request = _absolute(request)
    rows, missing = plan_rows(request)
    modules = _modules(rows)
    with preparing(request.cache_dir):
        if not _is_done(request, rows):
            phrasings = _check(request, rows)
            with atomic.passing_folder(request.cache_dir / "fleet") as run_dir:
                _run(run, Orders(request, run_dir, modules, phrasings), rows)
            _await(request, rows)
        tokens = plan_tokens(request, rows)
        _clean(rows, tokens)
    return Prepared.of(rows, tokens, missing)


def _check(request: Request, rows: Sequence[RowsItem]) -> dict[str, str]:
    """Refuses an unfit vocabulary before any work; how each dataset is phrased."""
    if request.vocabulary is None:
        return {}
    trained = dict.fromkeys(item.dataset for item in rows if item.split == "train")
    check_vocabulary(request, trained)
    return {dataset: phrasing_key(request, dataset) for dataset in trained}


def _run(
    run: Callable[[Orders, Sequence[RowsItem]], object], orders: Orders, rows: Sequence[RowsItem]
) -> None:
    try:
        with shown_progress(orders.request, rows):
            run(orders, rows)
    except Exception as error:
        raise _explained(orders.run_dir, error) from error


def _explained(run_dir: Path, error: Exception) -> Exception:
    """The error that the machines reported in the place of the one that the runner raised."""
    reports = [json.loads(p.read_text("utf-8")) for p in run_dir.glob(REPORT.format("*"))]
    for code in DISK_FULL:
        if any(r["errno"] == code for r in reports) or os.strerror(code) in str(error):
            return OSError(code, os.strerror(code))
    if not reports:
        return OSError(f"the run failed: {str(error) or repr(error)}")
    reports.sort(key=lambda report: report["time"])
    messages = list(dict.fromkeys(report["message"] for report in reports))
    shown = "\n".join(messages[:_MOST_ERRORS])
    if not any(message in str(error) for message in messages):
        # They may have been overcome, and something else be wrong.
        shown += f"\nThe last that was heard: {str(error)[-_MOST_TEXT:]}"
    return ValueError(shown) if all(r["wrong"] for r in reports) else OSError(shown)


def _await(request: Request, rows: Sequence[RowsItem]) -> None:
    """Waits until all caches are to be seen here, too."""
    deadline = time.monotonic() + _PATIENCE_S
    while not _is_done(request, rows):
        if time.monotonic() > deadline:
            raise OSError(
                f"the run ended, but not all of its caches are in {request.cache_dir} here: that "
                "folder must be on a file system that all machines mount"
            )
        time.sleep(1)


def _absolute(request: Request) -> Request:
    """With paths that mean the same in whatever working directory."""

    def absolute(path: Path | None) -> Path | None:
        return folders.local(path).absolute() if path is not None else None

    return dataclasses.replace(
        request,
        cache_dir=folders.local(request.cache_dir).absolute(),
        data_dir=absolute(request.data_dir),
        vocabulary=absolute(request.vocabulary),
    )


def _modules(rows: Sequence[RowsItem]) -> tuple[str, ...]:
    """Modules that register the datasets that flan does not ship."""
    own = {
        i.dataset: module_of(get_dataset(i.dataset).to_fields) for i in rows if not is_shipped(i)
    }
    for dataset, module in own.items():
        if module == "__main__":
            raise ValueError(
                f"dataset {dataset!r} is registered by the program itself, which other machines "
                "cannot import: put it into a module that is installed on all of them"
            )
    return tuple(sorted(set(own.values())))


def _is_done(request: Request, rows: Sequence[RowsItem]) -> bool:
    if not all(item.done for item in rows):
        return False
    return all(item.done for item in plan_tokens(request, rows))


def _clean(rows: Sequence[RowsItem], tokens: Sequence[TokensItem]) -> None:
    """Removes what killed machines, and those that came too late, left beside the caches."""
    for path in (*(i.path for i in rows), *(i.path for i in tokens)):
        atomic.remove_leftovers(path, everywhere=True)
    for item in tokens:
        shutil.rmtree(writer_of(item).partial, ignore_errors=True)
