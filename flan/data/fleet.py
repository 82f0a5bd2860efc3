"""What one machine of a fleet does of a preparation: a split's rows, a shard, a cache's end.

Data, caches and vocabulary are on a file system that all machines mount. Any step may be
done twice, again after an error or at the same time elsewhere: what is there is kept, files
and folders get in place whole, and whoever makes them makes the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from flan.catalog.registry import get_dataset
from flan.data import atomic
from flan.data.cache_keys import key_of
from flan.data.cache_plan import Request, RowsItem, TokensItem, plan_tokens
from flan.data.prepare_jobs import ShardWriter, rows_job, writer_of

REPORT = "error-{}.json"


@dataclasses.dataclass(frozen=True)
class Orders:
    """What every machine is told.

    Attributes:
      request: what is to be prepared, with absolute paths.
      run_dir: a folder within the cache folder that is there as long as the run; errors are
        reported in it.
      modules: to be imported for the datasets that flan does not ship.
      phrasings: dataset -> `phrasing_key`, to notice another version of the templates.
    """

    request: Request
    run_dir: Path
    modules: tuple[str, ...] = ()
    phrasings: Mapping[str, str] = dataclasses.field(default_factory=dict)


class FleetWorker:
    """Does the steps of a preparation, each of which may be given to any machine.

    Each raises ValueError and OSError as `flan.data.prepare.prepare` does, and reports them.
    One for each thread.
    """

    def __init__(self, orders: Orders):
        self._orders = orders
        self._request = orders.request

    def rows(self, item: RowsItem) -> int:
        """Caches the rows of a split unless it is done; returns how many were found."""
        with self._reporting():
            return 0 if item.done else rows_job(self._request, item)

    def plan(self, rows: Iterable[RowsItem]) -> list[tuple[TokensItem, int | None]]:
        """The shards of a dataset's token caches, `rows` being all of its rows, in order.

        Those that are written already are among them, so that this looks at nothing that
        changes; None stands for the shards of a cache that has none.
        """
        with self._reporting():
            tokens = plan_tokens(self._request, list(rows))
            for dataset in {item.dataset for item in tokens}:
                if phrasing_key(self._request, dataset) != self._orders.phrasings[dataset]:
                    raise ValueError(
                        f"{dataset}: the templates on {socket.gethostname()} are not those of the "
                        "machine that started this: install the same version of flan on all"
                    )
            return [
                (item, shard)
                for item in tokens
                for shard in (range(len(writer_of(item).shards)) or (None,))
            ]

    def tokens(self, item: TokensItem, shard: int | None) -> int:
        """Writes a shard unless it is there; returns how many examples were written."""
        with self._reporting():
            if shard is None or item.done or writer_of(item).has(shard):
                return 0
            return self._shards.write(item, shard)

    def finish(self, item: TokensItem) -> int:
        """Joins the shards of a cache, writing those that got lost; returns its examples."""
        writer = writer_of(item)
        with self._reporting():
            try:
                for shard in writer.missing():
                    self._shards.write(item, shard)
                return len(writer.finish())
            except (ValueError, OSError):
                if not writer.done:
                    raise
                # Another machine finished it and removed the shards under our hands.
                return len(writer.finish())

    @functools.cached_property
    def _shards(self) -> ShardWriter:
        return ShardWriter(self._request)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        run_dir = self._orders.run_dir
        if not run_dir.is_dir():
            raise ValueError(
                f"{run_dir} is not there on {socket.gethostname()}: either the run was given up, or "
                "--cache_dir is not on a file system that all machines mount at the same place, "
                "which --data_dir, --cache_dir and --vocabulary must be"
            )
        try:
            for module in self._orders.modules:
                importlib.import_module(module)
            yield
        except (ValueError, OSError) as error:
            report = {
                "time": time.time(),
                "errno": getattr(error, "errno", None),
                "wrong": isinstance(error, ValueError),
                "message": str(error),
            }
            with contextlib.suppress(OSError):  # a full disk, perhaps
                atomic.write_json(run_dir / REPORT.format(uuid.uuid4().hex), report)
            raise


def phrasing_key(request: Request, dataset: str) -> str:
    """Names all that decides how the examples of a dataset are phrased, exemplars aside."""
    return key_of(request.phraser(get_dataset(dataset)).identity())
