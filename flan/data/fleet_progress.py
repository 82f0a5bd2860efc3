"""Shows what appears in the cache folder while other machines are at work."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from flan.data.cache_plan import Request, RowsItem, TokensItem, plan_tokens
from flan.data.prepare_jobs import writer_of
from flan.progress import progress_bar

INTERVAL_S = 2.0


@contextlib.contextmanager
def shown_progress(request: Request, rows: Sequence[RowsItem]) -> Iterator[None]:
    """The bars of `flan.data.prepare`, fed by looking at the files every other second.

    Whatever runs the work need not report anything, which each system does in its own way.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(request, rows, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(request: Request, rows: Sequence[RowsItem], stop: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):  # who does the work says what is wrong
        total = sum(item.size for item in rows)
        _follow(total, "rows", "row", lambda: sum(i.size for i in rows if i.done), stop)
        if all(item.done for item in rows) and (tokens := plan_tokens(request, rows)):
            total = sum(item.num_rows * item.renderings for item in tokens)
            _follow(total, "tokens", "example", lambda: sum(map(_examples, tokens)), stop)


def _follow(
    total: int, description: str, unit: str, count: Callable[[], int], stop: threading.Event
) -> None:
    initial = count()
    if initial == total:
        return
    with progress_bar(total, description, unit, initial=initial) as bar:
        while bar.n < total:
            last = stop.wait(INTERVAL_S)
            bar.update(max(count() - bar.n, 0))
            if last:
                break


def _examples(item: TokensItem) -> int:
    """Examples of a cache that are written."""
    writer = writer_of(item)
    missing = set(writer.missing())
    return sum(len(shard) for number, shard in enumerate(writer.shards) if number not in missing)
