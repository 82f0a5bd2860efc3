"""Prepares caches as an Apache Beam pipeline: here, or on Dataflow, Flink, Spark.

The caches are, byte by byte, those that `flan.data.prepare` writes. Beam only spreads the
steps of `flan.data.fleet`; the data go through files, which all machines must see under the
same paths. Needs the extra `beam`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator, Sequence

from flan.data.cache_plan import Request, RowsItem, TokensItem
from flan.data.fleet import FleetWorker, Orders
from flan.data.fleet_launch import prepare_on_fleet
from flan.data.prepare import Prepared

try:
    import apache_beam as beam
    from apache_beam.metrics import Metrics

    from flan.data.beam_options import parse_options
except ModuleNotFoundError as error:
    if error.name != "apache_beam":
        raise
    raise ImportError(
        "preparing with Apache Beam needs the package: pip install 'flan-jax[beam]'"
    ) from error


def prepare_with_beam(request: Request, flags: Sequence[str] = ()) -> Prepared:
    """Makes the caches of a request that are not there, showing progress.

    Args:
      request: its folders are on a file system that all machines mount at the same place.
      flags: Beam's options, such as `--runner=FlinkRunner`; without a runner the work is
        done in this process.

    Raises what `flan.data.prepare.prepare` raises; ValueError for unknown options; OSError
    where the pipeline failed otherwise.
    """
    options = parse_options(flags)
    try:
        new_pipeline = functools.partial(beam.Pipeline, options=options)
        new_pipeline()  # an unfit runner is refused before any work
    except ImportError as error:
        raise ValueError(f"Beam cannot load the runner: {error}") from error
    return prepare_on_fleet(request, lambda orders, rows: _run(new_pipeline(), orders, rows))


def add_steps(pipeline: beam.Pipeline, orders: Orders, rows: Sequence[RowsItem]) -> None:
    """Adds the preparation of some splits to a pipeline.

    Counts `rows`, `examples` and `caches` (of tokens) in the namespace `flan`.
    """
    (
        pipeline
        | "splits" >> beam.Create(list(enumerate(rows)))
        | "spread splits" >> beam.Reshuffle()
        | "cache rows" >> beam.ParDo(_Rows(orders))
        | "by dataset" >> beam.GroupByKey()
        | "plan shards" >> beam.ParDo(_Plan(orders))
        | "spread shards" >> beam.Reshuffle()
        | "write shards" >> beam.ParDo(_Tokens(orders))
        | "by cache" >> beam.GroupByKey()
        | "join shards" >> beam.ParDo(_Finish(orders))
    )


def _run(pipeline: beam.Pipeline, orders: Orders, rows: Sequence[RowsItem]) -> None:
    add_steps(pipeline, orders, rows)
    result = None
    try:
        with _reported_once():
            result = pipeline.run()
            result.wait_until_finish()
    except KeyboardInterrupt:
        if result is not None:
            with contextlib.suppress(Exception):
                result.cancel()
        raise


@contextlib.contextmanager
def _reported_once() -> Iterator[None]:
    """Keeps Beam from logging the traceback of what workers report and the user reads in the end."""

    def is_news(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], ValueError | OSError))

    logger = logging.getLogger("apache_beam.runners.common")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


class _Step(beam.DoFn):
    """A step of a `FleetWorker`; Beam gives each thread a copy of its own."""

    counter = ""

    def __init__(self, orders: Orders):
        super().__init__()
        self._orders = orders

    def setup(self) -> None:
        self.worker = FleetWorker(self._orders)
        self.count = Metrics.counter("flan", self.counter)


class _Rows(_Step):
    counter = "rows"

    def process(self, element: tuple[int, RowsItem]) -> Iterator[tuple[str, tuple[int, RowsItem]]]:
        self.count.inc(self.worker.rows(element[1]))
        yield element[1].dataset, element


class _Plan(_Step):
    counter = "datasets"

    def process(
        self, element: tuple[str, Iterable[tuple[int, RowsItem]]]
    ) -> Iterator[tuple[TokensItem, int | None]]:
        # Groups come in any order, and exemplars are drawn from sources in theirs.
        rows = [item for _, item in sorted(element[1], key=lambda numbered: numbered[0])]
        self.count.inc()
        yield from self.worker.plan(rows)


class _Tokens(_Step):
    counter = "examples"

    def process(self, element: tuple[TokensItem, int | None]) -> Iterator[tuple[str, TokensItem]]:
        self.count.inc(self.worker.tokens(*element))
        yield str(element[0].path), element[0]


class _Finish(_Step):
    counter = "caches"

    def process(self, element: tuple[str, Iterable[TokensItem]]) -> None:
        self.worker.finish(next(iter(element[1])))
        self.count.inc()
