"""The training examples of any seqio task or mixture, as a stream of token arrays.

Our own tasks take the run's vocabulary; another's must give the same ids. An example is
what `get_dataset` gives, unchanged: inputs and targets, each with the EOS that the task
put there.
"""

from __future__ import annotations

import copy
import functools
import importlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import seqio
import tensorflow as tf

from flan.data import seqio_tasks
from flan.data.names import parse_task_name
from flan.data.seqio_request import StreamRequest
from flan.data.seqio_vocabulary import SeqioVocabulary, check_same_ids
from flan.data.stream_rows import Chunk
from flan.data.vocabulary import load_vocabulary

log = logging.getLogger(__name__)

SPLIT = "train"
_KEYS = ("inputs", "targets")
_AT_ONCE = 256  # examples that leave TensorFlow together
TASK = "number_of_task"


class StreamTask(NamedTuple):
    """A task of the stream: its name (a dataset's, where it is ours), weight, and rows found.

    Rows are counted before filters; None where the source does not say.
    """

    name: str
    rate: float
    found: int | None


class Stream(NamedTuple):
    """Tasks, whose numbers the examples carry, and the examples."""

    tasks: tuple[StreamTask, ...]
    chunks: Iterator[Chunk]


def import_modules(modules: Sequence[str]) -> None:
    """Imports the modules that register tasks; ValueError for one that cannot be imported."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            hint = (
                f"write {name.removesuffix('.py')!r}, without .py"
                if name.endswith(".py")
                else "it has to be found from the folder where the run starts or through PYTHONPATH"
            )
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"cannot import the module {name!r} of SEQIO_MODULES ({reason}); {hint}"
            ) from error


def open_examples(request: StreamRequest) -> Stream:
    """The stream of a request: endless, and the same each time.

    Raises:
      ValueError: no such name, a task that no decoder-only model can be trained on, or one
        of another vocabulary than the run's.
    """
    seqio_tasks.install()
    seqio_tasks.configure(
        data_dir=request.data_dir,
        vocabulary_dir=request.vocabulary,
        seed=request.seed,
        cap=request.cap,
        rate=request.rate,
        num_templates=request.num_templates,
        skip_missing=request.skip_missing,
    )
    import_modules(request.modules)
    provider = seqio_tasks.get(request.name)
    if SPLIT not in provider.splits:
        raise ValueError(f"{request.name} has no split {SPLIT!r}; it has {sorted(provider.splits)}")
    tasks = [task for task in seqio.get_subtasks(provider) if SPLIT in task.splits]
    _check_features(provider, request)
    _check_vocabularies(tasks, request)
    if isinstance(provider, seqio.Mixture):
        rates = [float(provider.get_rate(task)) for task in tasks]
        provider = numbered(provider)
    else:
        rates = [1.0]
    dataset = provider.get_dataset(
        sequence_length=request.feature_lengths,
        split=SPLIT,
        shuffle=request.shuffle,
        seed=request.seed,
        num_epochs=None,
        use_cached=request.use_cached,
    )
    described = tuple(
        StreamTask(_shown_name(task), rate, _rows_found(task))
        for task, rate in zip(tasks, rates, strict=True)
    )
    return Stream(described, _chunks(dataset, load_vocabulary(request.vocabulary).vocab_size))


def numbered(mixture: seqio.Mixture) -> seqio.Mixture:
    """The same mixture, whose examples say which of its tasks they come from (`TASK`)."""

    def sample(
        datasets: Sequence[tf.data.Dataset], *rest: Any, mix: Callable[..., tf.data.Dataset]
    ) -> tf.data.Dataset:
        marked = [
            dataset.map(lambda example, number=number: {**example, TASK: number})
            for number, dataset in enumerate(datasets)
        ]
        return mix(marked, *rest)

    # seqio has no other way to learn it; what is drawn stays the same.
    found = copy.copy(mixture)
    found._sample_fn = functools.partial(sample, mix=mixture._sample_fn)
    return found


def _chunks(dataset: tf.data.Dataset, vocab_size: int) -> Iterator[Chunk]:
    """Examples by the hundred, those without a single token left out."""

    def flatten(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        parts = [tf.cast(example[key], tf.int64) for key in _KEYS if key in example]
        inputs = tf.size(parts[0], tf.int64) if len(parts) == 2 else tf.constant(0, tf.int64)
        task = tf.cast(example.get(TASK, 0), tf.int64)
        return {"tokens": tf.concat(parts, 0), "inputs": inputs, "task": task}

    empty = 0
    for found in dataset.map(flatten).ragged_batch(_AT_ONCE):
        tokens = found["tokens"].values.numpy()
        lengths = np.diff(found["tokens"].row_splits.numpy())
        if len(tokens) and not (tokens.min() >= 0 and tokens.max() < vocab_size):
            raise ValueError(
                f"an example has the token id {tokens.min() if tokens.min() < 0 else tokens.max()}; "
                f"the run's vocabulary has the ids 0 to {vocab_size - 1}"
            )
        kept = lengths > 0
        if not empty and not kept.all():
            log.warning("the stream has examples without a token; they are left out")
        empty += int((~kept).sum())
        inputs, tasks = found["inputs"].numpy()[kept], found["task"].numpy()[kept]
        yield Chunk(tokens.astype(np.int32), lengths[kept], inputs, tasks)


def _check_features(provider: seqio.Task | seqio.Mixture, request: StreamRequest) -> None:
    features = provider.output_features
    for key in _KEYS:
        if key not in features:
            continue
        feature = features[key]
        if feature.rank != 1 or not feature.dtype.is_integer:
            raise ValueError(
                f"{request.name}: {key} must be a list of token ids, and is of rank {feature.rank} "
                f"and type {feature.dtype.name}"
            )
    if "targets" not in features:
        raise ValueError(
            f"{request.name} has the features {sorted(features)}: a decoder-only model is trained "
            "on 'inputs' and 'targets', or on 'targets' alone"
        )
    wanted = [key for key in _KEYS if key in features]
    if sorted(request.feature_lengths) != wanted:
        example = {"inputs": 1024, "targets": 256} if "inputs" in features else {"targets": 1280}
        raise ValueError(
            f"{request.name} has the features {wanted} and TASK_FEATURE_LENGTHS gives "
            f"{request.feature_lengths}: give the length of each, as in {example}"
        )
    others = sorted(set(features) - set(_KEYS))
    if others:
        log.warning("%s: the features %s are not used", request.name, others)


def _check_vocabularies(tasks: Sequence[seqio.Task], request: StreamRequest) -> None:
    """Refuses tasks whose ids mean something else in the run's vocabulary."""
    ours = load_vocabulary(request.vocabulary)
    checked: list[seqio.Vocabulary] = [SeqioVocabulary(request.vocabulary)]
    for task in tasks:
        for key in _KEYS:
            feature = task.output_features.get(key)
            if feature is None or any(feature.vocabulary is v for v in checked):
                continue
            if isinstance(feature.vocabulary, SeqioVocabulary) and feature.vocabulary in checked:
                continue
            try:
                note = check_same_ids(feature.vocabulary, ours)
            except ValueError as error:
                raise ValueError(
                    f"task {task.name}: its {key} have another vocabulary ({feature.vocabulary}) "
                    f"than the run ({request.vocabulary}): {error}. Give the task's own as "
                    "VOCABULARY, for a model that has it too"
                ) from None
            if note:
                log.warning("task %s, %s: %s", task.name, key, note)
            checked.append(feature.vocabulary)


def _shown_name(task: seqio.Task) -> str:
    if seqio.TaskRegistry._REGISTRY.knows(task.name):
        return parse_task_name(task.name).datasets[0]
    return task.name


def _rows_found(task: seqio.Task) -> int | None:
    try:
        found = task.num_input_examples(SPLIT)
    except Exception:  # of a source of any kind; the number is only shown
        return None
    return None if found is None else int(found)


def make_deterministic(seed: int) -> None:
    """Lets everything random in this process follow the seed, unseeded steps of tasks too."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    tf.random.set_seed(seed)
    tf.config.experimental.enable_op_determinism()
