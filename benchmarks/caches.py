"""The rows, vocabulary and token caches that the parts of `input_pipeline` share."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from flan.data.cache import TaskCache
from flan.data.cache_plan import Request
from flan.data.loader import TrainData, open_train_data
from flan.data.prepare import prepare
from flan.data.vocabulary import train_sentencepiece

LENGTH, INPUTS, TARGETS = 1280, 1024, 256


def request(args: argparse.Namespace, datasets: tuple[str, ...], **options: Any) -> Request:
    return Request(
        datasets=datasets,
        cache_dir=options.pop("cache_dir", args.cache_dir),
        data_dir=args.data_dir,
        splits=("train",),
        skip_missing=True,
        **options,
    )


def train_vocabulary(args: argparse.Namespace, out: Path) -> Path:
    prepared = prepare(request(args, ("all",)))
    rows = itertools.chain.from_iterable(
        prepared.open_rows(dataset, "train")[source] for dataset, source, _ in prepared.rows
    )
    train_sentencepiece(
        (text for fields in rows for text in (*fields.values.values(), fields.answer)), out
    )
    return out


def open_caches(args: argparse.Namespace) -> dict[str, list[TaskCache]]:
    prepared = prepare(request(args, ("all",), vocabulary=args.vocabulary))
    return prepared.open_tokens()


def flan_data(caches: dict[str, Any], batch_size: int, steps: int, **options: Any) -> TrainData:
    return open_train_data(
        list(caches), caches, batch_size=batch_size, length=LENGTH, steps=steps, **options
    )
