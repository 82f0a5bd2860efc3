"""What the worker processes of `flan.data.prepare` do: one split's rows, one shard's tokens."""

from __future__ import annotations

import functools
from pathlib import Path

from flan.catalog.registry import get_dataset
from flan.data.cache import TaskCacheWriter
from flan.data.cache_plan import Request, TokensItem
from flan.data.phrasing import Phraser
from flan.data.row_cache import RowCache
from flan.data.rows import SourceReader, prepare_rows
from flan.data.tokenization import tokenize
from flan.data.vocabulary import Vocabulary, load_vocabulary
from flan.templates.exemplars import ExemplarPool

_BATCH = 512  # texts that are tokenized together


def rows_job(
    dataset: str, source: str, split: str, data_dir: Path, cache_dir: Path, cap: int
) -> int:
    """Caches the rows of one split; returns how many were found."""
    known = get_dataset(dataset)
    reader = SourceReader(data_dir, known, known.source(source), cap)
    piece = reader.plan[split]
    assert piece is not None
    prepare_rows(reader, split, cache_dir)
    return len(piece)


def writer_of(item: TokensItem) -> TaskCacheWriter:
    """The writer of a planned cache."""
    return TaskCacheWriter(
        item.path, item.identity, item.num_rows, item.rows_found, item.renderings
    )


def tokens_job(request: Request, item: TokensItem, shard: int) -> tuple[Path, int]:
    """Renders and tokenizes one shard; returns its cache's path and how many examples it has."""
    rows, phraser, vocabulary = _material(request, item)
    writer = writer_of(item)
    examples = writer.shards[shard]
    batches, template_ids, row_ids = [], [], []
    for start in range(examples.start, examples.stop, _BATCH):
        rendered = []
        for example in range(start, min(start + _BATCH, examples.stop)):
            epoch, row = divmod(example, item.num_rows)
            row_id = int(rows.row_ids[row])
            template_id, text = phraser.phrase(rows.fields(row), item.source, row_id, epoch)
            rendered.append(text)
            template_ids.append(template_id)
            row_ids.append(row_id)
        lengths = request.input_length, request.target_length
        batches.append(tokenize(vocabulary, rendered, *lengths))
    writer.write_shard(shard, batches, template_ids, row_ids)
    return item.path, len(examples)


def _material(request: Request, item: TokensItem) -> tuple[RowCache, Phraser, Vocabulary]:
    assert request.vocabulary is not None
    vocabulary = _vocabulary(request.vocabulary)
    if vocabulary.fingerprint != item.identity["vocabulary"]:
        raise ValueError(f"the vocabulary at {request.vocabulary} changed while it was in use")
    dataset = get_dataset(item.dataset)
    phraser = Phraser(dataset, request.rendering, seed=request.seed, template=request.template)
    if item.exemplars:
        pool = _exemplar_pool(item.dataset, item.exemplars, request.seed)
        phraser.use_exemplars(pool, lambda t: len(vocabulary.encode(t)), request.input_length)
    return _row_cache(item.rows), phraser, vocabulary


@functools.lru_cache(maxsize=1)
def _vocabulary(path: Path) -> Vocabulary:
    return load_vocabulary(path)


@functools.lru_cache(maxsize=1)
def _row_cache(path: Path) -> RowCache:
    return RowCache.open(path)


@functools.lru_cache(maxsize=1)
def _exemplar_pool(dataset: str, caches: tuple[Path, ...], seed: int) -> ExemplarPool:
    rows = [fields for path in caches for fields in RowCache.open(path)]
    return ExemplarPool(get_dataset(dataset), rows, seed)
