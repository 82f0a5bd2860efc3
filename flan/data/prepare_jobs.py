"""What is done for one split's rows and for one shard's tokens, in whatever process."""

from __future__ import annotations

import functools
from pathlib import Path

from flan.catalog.registry import get_dataset
from flan.data.cache import TaskCacheWriter
from flan.data.cache_keys import cache_folder
from flan.data.cache_plan import Request, RowsItem, TokensItem
from flan.data.phrasing import Phraser
from flan.data.row_cache import RowCache
from flan.data.rows import SourceReader, prepare_rows
from flan.data.tokenization import tokenize
from flan.data.vocabulary import load_vocabulary
from flan.templates.exemplars import ExemplarPool

_BATCH = 512  # texts that are tokenized together


def rows_job(request: Request, item: RowsItem) -> int:
    """Caches the rows of one split; returns how many were found.

    Raises ValueError for damaged data, and where the data or the code is not what the cache
    was planned with.
    """
    assert request.data_dir is not None  # without it, only what is cached is planned
    dataset = get_dataset(item.dataset)
    reader = SourceReader(request.data_dir, dataset, dataset.source(item.source), request.cap)
    path = cache_folder(request.cache_dir, "rows", reader.identity(item.split))
    if path != item.path:
        raise ValueError(
            f"{item.dataset}: {item.path.name} was planned and {path.name} would be made: the data "
            "changed meanwhile, or this process runs another version of flan"
        )
    prepare_rows(reader, item.split, request.cache_dir)
    return item.size


def tokens_job(request: Request, item: TokensItem, shard: int) -> tuple[Path, int]:
    """Renders and tokenizes one shard; returns its cache's path and how many examples it has."""
    return item.path, _shard_writer(request, item.identity["vocabulary"]).write(item, shard)


@functools.lru_cache(maxsize=1)
def _shard_writer(request: Request, vocabulary: str) -> ShardWriter:
    """A process's only one; `vocabulary` is the fingerprint, so that a new one is read anew."""
    return ShardWriter(request)


def writer_of(item: TokensItem) -> TaskCacheWriter:
    """The writer of a planned cache."""
    return TaskCacheWriter(
        item.path, item.identity, item.num_rows, item.rows_found, item.renderings
    )


class ShardWriter:
    """Renders and tokenizes shards of a request's token caches, one after the other.

    It keeps what a shard needed, since the next one mostly needs the same. One for each
    thread: vocabularies are not made for several.
    """

    def __init__(self, request: Request):
        assert request.vocabulary is not None
        self._request = request
        self._vocabulary = load_vocabulary(request.vocabulary)
        self._rows = functools.lru_cache(maxsize=1)(RowCache.open)
        self._exemplars = functools.lru_cache(maxsize=1)(_exemplar_pool)

    def write(self, item: TokensItem, shard: int) -> int:
        """Writes one shard of a cache; returns how many examples it has.

        Raises ValueError for a vocabulary that is not the one that was planned with.
        """
        if self._vocabulary.fingerprint != item.identity["vocabulary"]:
            where = self._request.vocabulary
            raise ValueError(f"the vocabulary at {where} changed while it was in use")
        rows, phraser = self._rows(item.rows), self._phraser(item)
        lengths = self._request.input_length, self._request.target_length
        writer = writer_of(item)
        examples = writer.shards[shard]
        batches, template_ids, row_ids = [], [], []
        example = examples.start
        while example < examples.stop:
            epoch, first = divmod(example, item.num_rows)
            last = min(first + _BATCH, item.num_rows, first + examples.stop - example)
            ids = rows.row_ids[first:last].tolist()
            phrased = [
                phraser.phrase(fields, item.source, row_id, epoch)
                for row_id, fields in zip(ids, rows[first:last], strict=True)
            ]
            batches.append(tokenize(self._vocabulary, [text for _, text in phrased], *lengths))
            template_ids += [template_id for template_id, _ in phrased]
            row_ids += ids
            example += last - first
        writer.write_shard(shard, batches, template_ids, row_ids)
        return len(examples)

    def _phraser(self, item: TokensItem) -> Phraser:
        request = self._request
        phraser = request.phraser(get_dataset(item.dataset))
        if item.exemplars:
            pool = self._exemplars(item.dataset, item.exemplars, request.seed)
            phraser.use_exemplars(pool, self._count_tokens, request.input_length)
        return phraser

    def _count_tokens(self, text: str) -> int:
        return len(self._vocabulary.encode(text))


def _exemplar_pool(dataset: str, caches: tuple[Path, ...], seed: int) -> ExemplarPool:
    rows = [fields for path in caches for fields in RowCache.open(path)]
    return ExemplarPool(get_dataset(dataset), rows, seed)
