"""What a dataset is: its TFDS sources, and the function from a row to named fields.

Everything here is plain Python over plain values. The same `to_fields` serves
training caches, seqio tasks, evaluation, previews and a user's own rows.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

Row = Mapping[str, Any]
TaskType = Literal["classification", "multiple_choice", "generation"]
TASK_TYPES: tuple[TaskType, ...] = ("classification", "multiple_choice", "generation")

_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})

DEV_SIZE = 200
TRAIN_CAP = 30_000


@dataclasses.dataclass(frozen=True, slots=True)
class Fields:
    """One example, as templates and metrics see it.

    Attributes:
      values: the named strings that templates may use as `{name}`.
      options: the answer choices in label order; empty for free-form tasks.
      label: index of the right option; None for free-form tasks.
      answer: the text to produce. For option tasks this is `options[label]`.
      references: every text that counts as right, `answer` among them first.
        For regression-like tasks (STS-B) the exact gold value.
    """

    values: Mapping[str, str]
    answer: str
    options: tuple[str, ...] = ()
    label: int | None = None
    references: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.options:
            if self.label is None or not 0 <= self.label < len(self.options):
                raise ValueError(
                    f"label {self.label!r} is outside the {len(self.options)} options "
                    f"{list(self.options)}; return None from to_fields to drop an unlabelled row"
                )
            if self.answer != self.options[self.label]:
                raise ValueError(
                    f"answer {self.answer!r} is not option {self.label} of {list(self.options)}"
                )


def choice(options: Sequence[str], label: int, **values: str) -> Fields | None:
    """Fields of a task with options.

    None (row dropped) when `label` is -1, TFDS's "unlabelled", or when an option or a value
    is blank: such a row asks or offers nothing.
    """
    options = tuple(options)
    if label == -1 or any_blank(options) or any_blank(values.values()):
        return None
    if not 0 <= label < len(options):
        raise ValueError(f"label {label} is outside the {len(options)} options {list(options)}")
    return Fields(values, options[label], options, label, (options[label],))


def free_form(references: str | Sequence[str], **values: str) -> Fields | None:
    """Fields of a generation task; None (row dropped) without a reference, or for a blank value."""
    texts = (references,) if isinstance(references, str) else tuple(references)
    texts = tuple(dict.fromkeys(t for t in texts if not any_blank([t])))
    if not texts or any_blank(values.values()):
        return None
    return Fields(values, texts[0], references=texts)


def any_blank(texts: Iterable[str]) -> bool:
    """Whether one of them has nothing to see: white space and invisible characters only."""
    return any(all(map(_is_invisible, text)) for text in texts)


def _is_invisible(char: str) -> bool:
    """Spaces, control and formatting characters, and the mark of those that were lost."""
    return unicodedata.category(char) in _INVISIBLE or char == "\N{REPLACEMENT CHARACTER}"


@dataclasses.dataclass(frozen=True)
class Source:
    """One TFDS config that a dataset reads.

    Attributes:
      name: short and unique within the dataset (`r1`, `matched`); equal to the
        dataset's name where it has a single source.
      tfds: builder and config, e.g. `super_glue/rte`.
      version: the exact TFDS version, e.g. `1.0.2`.
      train: TFDS split with training rows; None for an evaluation-only source.
      validation: TFDS validation split with public labels, or None.
      test: TFDS test split *with public labels*, or None. (GLUE's test splits,
        whose labels are -1, are None here.)
      sizes: official rows of each TFDS split, as published (see `sizes_from`).
      sizes_from: where the sizes were read.
      manual: how to get the data where TFDS cannot download it; empty otherwise.
    """

    name: str
    tfds: str
    version: str
    train: str | None = "train"
    validation: str | None = "validation"
    test: str | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    sizes_from: str = ""
    manual: str = ""

    @property
    def tfds_name(self) -> str:
        """Name with version, as `tfds.load` takes it: `super_glue/rte:1.0.2`."""
        return f"{self.tfds}:{self.version}"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A FLAN dataset: where its rows come from and what they mean.

    Attributes:
      name: FLAN's short name (`rte`); the seqio task is `flan_<name>`.
      cluster: one of `clusters.CLUSTERS`, or `extra`.
      title: the name people know it by ("RTE"), used by the `_dataset_name` ablation.
      task_type: `classification` (the same options for each row),
        `multiple_choice` (options differ from row to row) or `generation`.
      fields: names that `to_fields` puts into `Fields.values`, exactly.
      sources: the TFDS configs it reads.
      metrics: names out of `flan.evaluation.metrics`; the first is the main one.
      to_fields: row -> `Fields`, or None to drop the row.
      options: default verbalizers in label order (`classification` only).
      labels: the builder's own label names in order, where the row has a
        ClassLabel that `options` verbalize; checked against the builder by tests.
      dev_size: rows of the dev split at most (DESIGN section 4).
      version: raise it when `to_fields` changes what it returns; part of cache keys.
      description: the docstring of `to_fields`.
    """

    name: str
    cluster: str
    title: str
    task_type: TaskType
    fields: tuple[str, ...]
    sources: tuple[Source, ...]
    metrics: tuple[str, ...]
    to_fields: Callable[[Row], Fields | None]
    options: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    dev_size: int = DEV_SIZE
    version: int = 1
    description: str = ""

    def __post_init__(self) -> None:
        if self.task_type not in TASK_TYPES:
            raise ValueError(
                f"{self.name}: task_type {self.task_type!r} is not one of {TASK_TYPES}"
            )
        if (self.task_type == "classification") != bool(self.options):
            raise ValueError(
                f"{self.name}: `options` belong to classification datasets, and only those"
            )
        if len({s.name for s in self.sources}) != len(self.sources) or not self.sources:
            raise ValueError(f"{self.name}: needs one or more sources with distinct names")
        if not self.metrics:
            raise ValueError(f"{self.name}: needs at least one metric")

    def source(self, name: str) -> Source:
        """The source of that name; raises ValueError naming the known ones."""
        for source in self.sources:
            if source.name == name:
                return source
        raise ValueError(
            f"dataset {self.name!r} has no source {name!r}; it has {[s.name for s in self.sources]}"
        )
