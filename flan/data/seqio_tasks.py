"""Our tasks and mixtures in seqio's registry, by name, built when they are asked for.

    import flan.data.seqio_tasks
    seqio.get_mixture_or_task("flan_rte").get_dataset(
        sequence_length={"inputs": 1024, "targets": 256}, split="train", shuffle=False)

Names are those of `flan.data.names`: `flan_rte`, `flan_rte_t3`, `flan_rte_no_options`,
`flan_all`, `flan_loo_nli_5shot`; with `_rank`, `flan_rte_t3_rank`, a task of dev and test rows
whose options are scored (see `flan.data.seqio_ranking`). The data and the vocabulary come from `configure(...)` or
from the environment: FLAN_DATA_DIR (or TFDS_DATA_DIR) and FLAN_VOCABULARY. For the same
rows, seed and epoch an example has the tokens that `flan prepare` caches.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import seqio
import tensorflow as tf

from flan import folders
from flan.catalog.dataset import TRAIN_CAP, Dataset
from flan.catalog.registry import get_dataset
from flan.data import seqio_ranking
from flan.data.mixture import RATE_LIMIT
from flan.data.names import PREFIX, TaskName, known_names, parse_task_name
from flan.data.phrasing import Phraser
from flan.data.rows import UnusableSource
from flan.data.seqio_phrasing import count_epochs, metric_functions, phrase, postprocess
from flan.data.seqio_source import SPLITS, RowSource, add_fields
from flan.data.seqio_vocabulary import SeqioVocabulary
from flan.suggest import unknown_name
from flan.templates.load import load_templates

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the tasks are built with.

    Attributes:
      data_dir: the TFDS folder; None takes the environment's.
      vocabulary_dir: None takes FLAN_VOCABULARY.
      seed: of the choice of templates and exemplars.
      cap: training rows of a dataset at most.
      rate: weight of a dataset in a mixture at most.
      num_templates: train on the first so many templates of each dataset; None uses all.
      skip_missing: leave out of mixtures what the data folder lacks, with a warning,
        instead of refusing.
    """

    data_dir: str | None = None
    vocabulary_dir: str | None = None
    seed: int = 0
    cap: int = TRAIN_CAP
    rate: int = RATE_LIMIT
    num_templates: int | None = None
    skip_missing: bool = False


# Examples that seqio shuffles on top of the source's rows; it keeps small sources in memory, in
# one order. Its own 1,000 of each of 62 datasets are half a minute of work before the first batch,
# and mix 20 epochs of a small dataset.
_SHUFFLED = 128

_settings = Settings()


def configure(**changes: Any) -> Settings:
    """Sets attributes of `Settings`; tasks that were built before are built anew when asked for."""
    global _settings
    _settings = dataclasses.replace(_settings, **changes)
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        if isinstance(registry._REGISTRY, LazyRegistry):
            registry._REGISTRY.forget()
    return _settings


def _data_dir() -> str:
    named = _settings.data_dir or os.environ.get("FLAN_DATA_DIR")
    found = folders.data_dir(named)
    if found is None:
        raise ValueError(
            "where are the data? Call flan.data.seqio_tasks.configure(data_dir=...) or set "
            "FLAN_DATA_DIR to the TFDS folder"
        )
    return str(found)


def vocabulary() -> SeqioVocabulary:
    """The vocabulary of the tasks; ValueError where none is set."""
    path = _settings.vocabulary_dir or os.environ.get("FLAN_VOCABULARY")
    if not path:
        raise ValueError(
            "which vocabulary? Call flan.data.seqio_tasks.configure(vocabulary_dir=...) or set "
            "FLAN_VOCABULARY to its folder; `flan vocab train` makes one"
        )
    return _load_vocabulary(path)


@functools.lru_cache(maxsize=4)
def _load_vocabulary(path: str) -> SeqioVocabulary:
    return SeqioVocabulary(path)


def build_task(name: str) -> seqio.Task:
    """The task of a name; ValueError where there is no such task, data or vocabulary."""
    plain, ranks = seqio_ranking.split_name(name)
    parsed = parse_task_name(plain)
    dataset = get_dataset(parsed.datasets[0])
    kinds = {t.id: t.kind for t in load_templates(dataset.name).templates}
    phraser = functools.partial(
        Phraser, dataset, parsed.rendering, seed=_settings.seed, template=parsed.template
    )
    training = phraser(num_templates=_settings.num_templates)
    evaluated = parsed.template is None or kinds[parsed.template] == "forward"
    evaluation = phraser(forward_only=True) if evaluated else None
    splits = tuple(SPLITS) if evaluated else ("train",)
    if ranks:
        splits = tuple(split for split in splits if split != "train")
    source = RowSource(_data_dir(), dataset, splits, _settings.cap)
    words = vocabulary()
    return seqio.Task(
        name,
        source=source,
        preprocessors=[
            functools.partial(add_fields, source=source),
            seqio.CacheDatasetPlaceholder(),
            functools.partial(count_epochs, source=source),
            functools.partial(phrase, source=source, training=training, evaluation=evaluation),
            *([seqio_ranking.one_example_an_option] if ranks else []),
        ],
        output_features={
            "inputs": seqio.Feature(words, add_eos=True, dtype=tf.int32),
            "targets": seqio.Feature(words, add_eos=True, dtype=tf.int32),
        },
        postprocess_fn=(seqio_ranking.postprocess if ranks else postprocess) if evaluated else None,
        metric_fns=_metrics(dataset, ranks) if evaluated else [],
        shuffle_buffer_size=_SHUFFLED,
    )


def _metrics(dataset: Dataset, ranks: bool) -> list[Callable[..., dict[str, float]]]:
    return [seqio_ranking.metric_function(dataset)] if ranks else metric_functions(dataset)


def build_mixture(name: str) -> seqio.Mixture:
    """The mixture of a name, its tasks at examples-proportional rates.

    Raises ValueError where there is no such mixture, or data are missing (all are named).
    """
    parsed = parse_task_name(name)
    tasks, missing = [], []
    for dataset in parsed.datasets:
        task = seqio.TaskRegistry.get(f"{PREFIX}{dataset}{parsed.rendering.suffix}")
        try:
            if "train" in task.splits:
                tasks.append(task)
            else:
                missing.append(f"{dataset} has no training rows")
        except UnusableSource as error:
            missing.append(str(error))
    if missing and not (_settings.skip_missing and tasks):
        raise ValueError(
            f"{name} lacks data:\n- "
            + "\n- ".join(missing)
            + "\nOr go on without them: flan.data.seqio_tasks.configure(skip_missing=True) "
            "(`flan train`: --gin.ON_MISSING=skip)"
        )
    for reason in missing:
        log.warning("%s goes without: %s", name, reason)
    return seqio.Mixture(name, [(task, mixing_rate) for task in tasks])


def mixing_rate(task: seqio.Task) -> float:
    """Rows that pass the filters, up to the rate limit (FLAN paper, section 2.2)."""
    return float(_rows_kept(task.source, _settings.rate))


@functools.lru_cache(maxsize=1024)
def _rows_kept(source: RowSource, limit: int) -> int:
    return source.rows_kept("train", limit)


class LazyRegistry(collections.UserDict[str, Any]):
    """A registry of seqio's that builds our providers when they are looked up.

    Only what was built or registered is listed; `in` knows all names.

    Args:
      existing: what is registered already.
      build: name -> provider.
      is_ours: whether a parsed name is one of this registry.
    """

    def __init__(
        self,
        existing: collections.abc.Mapping[str, Any],
        build: Callable[[str], Any],
        is_ours: Callable[[TaskName], bool],
    ):
        super().__init__(existing)
        self._build = build
        self._is_ours = is_ours
        self._built: set[str] = set()

    def __contains__(self, name: object) -> bool:
        return name in self.data or (isinstance(name, str) and self.knows(name))

    def __missing__(self, name: str) -> Any:
        if not self.knows(name):
            raise KeyError(name)
        self.data[name] = self._build(name)
        self._built.add(name)
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.data))

    def forget(self) -> None:
        """Drops what was built."""
        for name in self._built:
            self.data.pop(name, None)
        self._built.clear()

    def knows(self, name: str) -> bool:
        """Whether it is the name of one of ours."""
        if not name.startswith(PREFIX) or "," in name:
            return False
        try:
            plain, ranks = seqio_ranking.split_name(name)
            parsed = parse_task_name(plain)
            if parsed.template is not None:
                template = load_templates(parsed.datasets[0]).get(parsed.template)
                if ranks and template.kind != "forward":
                    return False
        except ValueError:
            return False
        if ranks and not (
            _is_task(parsed) and get_dataset(parsed.datasets[0]).task_type != "generation"
        ):
            return False
        return self._is_ours(parsed)


def _is_task(name: TaskName) -> bool:
    return len(name.datasets) == 1 and not name.held_out


def get(name: str) -> seqio.Task | seqio.Mixture:
    """`seqio.get_mixture_or_task`, for joined names, datasets and clusters of ours as well.

    Raises ValueError with near names, those of others' registered tasks among them.
    """
    registered = [*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()]
    if name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names():
        return seqio.get_mixture_or_task(name)
    try:
        parsed = parse_task_name(name)
    except ValueError:
        known = dict.fromkeys([*registered, *known_names()])
        raise ValueError(unknown_name("task or mixture", name, known, limit=8)) from None
    if parsed.template is not None:
        load_templates(parsed.datasets[0]).get(parsed.template)
    return build_mixture(name)


def is_ours(name: str) -> bool:
    """Whether `get` builds what has that name; False for what others registered.

    Raises ValueError for a name that nobody knows.
    """
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        if registry._REGISTRY.knows(name):
            return True
        if name in registry.names():
            return False
    try:
        return bool(parse_task_name(name))
    except ValueError:
        get(name)  # says what names there are
        raise


def install() -> None:
    """Puts our names into seqio's registries; importing the module does it.

    Call it again after `seqio.TaskRegistry.reset()`.
    """
    for registry, build, is_ours in (
        (seqio.TaskRegistry, build_task, _is_task),
        (seqio.MixtureRegistry, build_mixture, lambda name: not _is_task(name)),
    ):
        if not isinstance(registry._REGISTRY, LazyRegistry):
            registry._REGISTRY = LazyRegistry(registry._REGISTRY, build, is_ours)


install()
